"""The commands that a cell may measure: how redis-benchmark is told, and what must be there before a run.

They are redis-benchmark's own default list, under its names, and XADD, which it has from version 7.2 on. A test that
takes elements away starts with as many as it will take; one that adds elements starts with none; LRANGE starts with a
list of 600. What is done beforehand is not measured.
"""

import time

from .client import Client

BATCH = 500
"""Elements in one preparing command."""

LISTED = 600
"""Elements in the list that LRANGE reads: its longest default range."""

TAKING = {"lpop": ("RPUSH", "mylist"), "rpop": ("RPUSH", "mylist"), "spop": ("SADD", "myset"), "zpopmin": ("ZADD", "myzset")}
ADDING = {"lpush": "mylist", "rpush": "mylist", "sadd": "myset", "hset": "myhash", "zadd": "myzset", "xadd": "mystream"}
RANGES = {f"lrange_{n}": n for n in (100, 300, 500, 600)}
KEYED = ("set", "get", "incr", "mset")
"""Commands over as many keys as the cell says, which the preparing `fill` has stored."""

DEFAULT = ["ping_inline", "ping_mbulk", "set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "sadd", "hset", "spop", "zadd", "zpopmin",
           *RANGES, "mset", "xadd"]
"""redis-benchmark's default list, in its order."""


def words(command, size):
    """The arguments of redis-benchmark for one command: a test of its own, or the request itself."""
    if command in RANGES:
        # Its own test of LRANGE would push a list of its own length first, and measure that too.
        return ["LRANGE", "mylist", "0", str(RANGES[command] - 1)]
    if command == "xadd":
        return ["XADD", "mystream", "*", "myfield", "x" * size]
    return ["-t", command]


def prepare(server, command, size, operations):
    """Brings the server to the state in which a run of `operations` of the command begins."""
    if command in RANGES:
        _fill(server, "RPUSH", "mylist", LISTED, size)
    elif command in TAKING:
        _fill(server, *TAKING[command], operations, size)
    elif command in ADDING:
        _fill(server, None, ADDING[command], 0, size)
    else:
        return
    time.sleep(0.3)


def _elements(verb, first, count, size):
    """The arguments that add `count` elements."""
    for i in range(first, first + count):
        if verb == "RPUSH":
            yield "x" * size
        elif verb == "SADD":
            yield f"element:{i:012d}"
        else:
            yield str(i)
            yield f"element:{i:012d}"


def _fill(server, verb, key, elements, size):
    with server.client() as c:
        c.call("DEL", key)
        _await_freed(c)
        commands = (Client.encode(verb, key, *_elements(verb, at, min(BATCH, elements - at), size)) for at in range(0, elements, BATCH))
        good = c.pipeline(commands, 20)
    if good != (elements + BATCH - 1) // BATCH:
        raise SystemExit(f"{server.name}: {key} could not be prepared\n{server.log_tail()}")


def _await_freed(c, limit=10.0):
    """Waits until what was deleted is freed, so that its freeing is not charged to the run."""
    until = time.monotonic() + limit
    while int(c.info("memory").get("lazyfree_pending_objects", "0")) and time.monotonic() < until:
        time.sleep(0.05)
