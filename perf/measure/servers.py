"""The servers under measurement: how each is configured, started, reached and stopped.

A server is named by what a user would run:

    redis  redis-tls  valkey  valkey-tls  ferrite  ferrite-plainlog

`ferrite` is TLS with a sealed log; `ferrite-plainlog` is the same with `encryption.enabled = false`, for the
cost of encryption at rest. A suffix `@2` makes a second arm of the same kind (`redis@2`), which is how an A/A
pair is had. Further arms are declared with `--variant NAME=BASE,bin=PATH,section.key=value,...`.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .client import Client, ServerError

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Kind:
    """How one kind of server is run. `options` are redis.conf words or Ferrite's dotted settings."""

    family: str
    tls: bool
    binary: str
    options: dict = field(default_factory=dict)


def known_kinds(ferrite_binary):
    """The servers that can be run here, by name; a peer that is not installed is left out."""
    kinds = {}
    for family, binary in (("redis", "redis-server"), ("valkey", "valkey-server")):
        path = os.environ.get(f"{family.upper()}_SERVER") or shutil.which(binary)
        if path:
            kinds[family] = Kind(family, False, path)
            kinds[f"{family}-tls"] = Kind(family, True, path)
    if Path(ferrite_binary).exists():
        kinds["ferrite"] = Kind("ferrite", True, str(ferrite_binary))
        kinds["ferrite-plainlog"] = Kind("ferrite", True, str(ferrite_binary), {"encryption.enabled": "false"})
    return kinds


def declare_variant(kinds, text):
    """Adds the arm that `--variant NAME=BASE,word=value,...` describes."""
    name, _, rest = text.partition("=")
    base, *words = rest.split(",")
    if base not in kinds:
        raise SystemExit(f"--variant {text}: no server named '{base}' here; known: {', '.join(kinds)}")
    kind = Kind(kinds[base].family, kinds[base].tls, kinds[base].binary, dict(kinds[base].options))
    for word in words:
        key, sep, value = word.partition("=")
        if not sep:
            raise SystemExit(f"--variant {text}: '{word}' is not of the form word=value")
        if key == "bin":
            kind.binary = value
        else:
            kind.options[key] = value
    kinds[name] = kind


def make_certificates(into):
    """A CA and a server certificate for 127.0.0.1, both ECDSA P-256: the same for every server."""
    into.mkdir(parents=True, exist_ok=True)

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=into)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=perf CA")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (into / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "30", "-extfile", "san", "-out", "server.pem")
    return into


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One running arm: a process of its own, a directory of its own, pinned to the CPUs it is given."""

    def __init__(self, name, kind, home, certs, policy, cpus="0", shards=1):
        self.name, self.kind, self.policy, self.cpus, self.shards = name, kind, policy, cpus, shards
        self.home = home / name
        self.certs = certs
        self.port = free_port()
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def ca(self):
        return self.certs / "ca.pem" if self.kind.tls else None

    def client(self, timeout=60.0):
        return Client(self.port, self.ca, timeout=timeout)

    def benchmark_words(self):
        """What redis-benchmark and redis-cli need to reach this server."""
        words = ["-h", "127.0.0.1", "-p", str(self.port)]
        return words + ["--tls", "--cacert", str(self.ca)] if self.kind.tls else words

    def _redis_words(self):
        words = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(self.home / "data"), "save": "",
            "appendonly": "yes", "appendfsync": self.policy, "auto-aof-rewrite-percentage": "0",
        }
        if self.kind.tls:
            words.update({"port": "0", "tls-port": str(self.port), "tls-auth-clients": "no",
                          "tls-cert-file": str(self.certs / "server.pem"),
                          "tls-key-file": str(self.certs / "server.key"),
                          "tls-ca-cert-file": str(self.ca)})
        words.update(self.kind.options)
        return [self.kind.binary] + [part for k, v in words.items() for part in (f"--{k}", v)]

    def _ferrite_words(self):
        kek = self.home / "kek"
        if not kek.exists():
            kek.touch(mode=0o600)
            kek.write_bytes(secrets.token_bytes(32))
        rows = {
            "server.bind": '"127.0.0.1"', "server.port": "0", "server.shards": str(self.shards),
            "server.data_dir": f'"{self.home / "data"}"',
            "tls.enabled": "true", "tls.port": str(self.port),
            "tls.cert_file": f'"{self.certs / "server.pem"}"', "tls.key_file": f'"{self.certs / "server.key"}"',
            "tls.ca_file": f'"{self.ca}"', "tls.require_client_cert": "false",
            "persistence.appendonly": "true", "persistence.appendfsync": f'"{self.policy}"',
            # As with Redis above: what is measured is not to begin by itself.
            "persistence.auto_aof_rewrite_percentage": "0", "persistence.checkpoint_interval": '"0"',
            "encryption.enabled": "true", "encryption.algorithm": '"aes256gcm"', "encryption.provider": '"file"',
            "encryption.file.key_file": f'"{kek}"',
        }
        rows.update(self.kind.options)
        sections = {}
        for dotted, value in rows.items():
            section, _, key = dotted.rpartition(".")
            if not value:  # declared away, for a binary that does not know it
                continue
            sections.setdefault(section, []).append(f"{key} = {value}")
        text = "\n".join("\n".join([f"[{s}]", *lines]) + "\n" for s, lines in sections.items())
        (self.home / "ferrite.toml").write_text(text)
        return [self.kind.binary, "--config", str(self.home / "ferrite.toml")]

    def start(self, wait=120.0):
        """Starts the server on what its directory holds; returns the seconds until it answered with its data."""
        (self.home / "data").mkdir(parents=True, exist_ok=True)
        words = self._ferrite_words() if self.kind.family == "ferrite" else self._redis_words()
        log = open(self.home / "log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(["taskset", "-c", self.cpus, *words], stdout=log, stderr=log)
        log.close()
        while True:
            try:
                with self.client(timeout=wait) as c:
                    c.call("DBSIZE")
                return time.monotonic() - began
            except (OSError, ServerError) as why:
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.name} ended at start; its log:\n{self.log_tail()}") from why
                if time.monotonic() - began > wait:
                    self.stop()
                    raise SystemExit(f"{self.name} did not answer in {wait:.0f} s: {why}\n{self.log_tail()}") from why
                time.sleep(0.005)

    def log_tail(self, lines=20):
        try:
            return "\n".join((self.home / "log").read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def stop(self, how=signal.SIGTERM):
        """Ends the process this object started, and waits for it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def wipe(self):
        """Stops the server and forgets its data."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)

    def version(self):
        words = subprocess.run([self.kind.binary, "--version"], capture_output=True, text=True)
        return (words.stdout or words.stderr).strip()
