"""Where the server is, as the test that starts a program of this directory tells it in the environment, and the words
that they exchange. A program exits with 0 when all it checked held; what it checked, it prints."""

import os
import sys
import time
import urllib.parse

HOST = os.environ["FERRITE_HOST"]
PORT = int(os.environ["FERRITE_PORT"])
CA = os.environ["FERRITE_CA"]
# Absent where the server asks for none.
CERT = os.environ.get("FERRITE_CERT")
KEY = os.environ.get("FERRITE_KEY")
USER = os.environ.get("FERRITE_USER")
PASSWORD = os.environ.get("FERRITE_PASSWORD")

# redis-py's options.
OPTIONS = dict(host=HOST, port=PORT, username=USER, password=PASSWORD, ssl=True, ssl_ca_certs=CA)
if CERT:
    OPTIONS |= dict(ssl_certfile=CERT, ssl_keyfile=KEY)


def url(db=0):
    """The server's address as one word, for those who take nothing else."""
    who = f"{USER}:{PASSWORD}@" if PASSWORD else ""
    files = dict(ssl_cert_reqs="required", ssl_ca_certs=CA)
    if CERT:
        files |= dict(ssl_certfile=CERT, ssl_keyfile=KEY)
    return f"rediss://{who}{HOST}:{PORT}/{db}?{urllib.parse.urlencode(files)}"


def did(what):
    """Says that something held."""
    print(f"  {what}", flush=True)


def eventually(what, check):
    """Waits until `check` gives something true, and gives that."""
    end = time.monotonic() + 60
    while not (found := check()):
        assert time.monotonic() < end, f"{what}: did not happen in a minute"
        time.sleep(0.02)
    return found


def restart():
    """Has the server stopped and started again."""
    print("@restart", flush=True)
    assert sys.stdin.readline(), "nobody answers"


def run(*steps):
    """Runs the program: every step has to hold."""
    for step in steps:
        step()
        did(step.__name__)
