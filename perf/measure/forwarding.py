"""What an operation costs more when its key lives on another core.

Two shards. From outside, a connection's core is told by which of the server's threads works when the connection
asks something; a key's shard is told by its hash slot (the lower half of the slots is one shard's, the upper half
the other's). Connections of one core then ask for keys of either shard in turn, and the CPU of all the server's
threads is compared. The generator is this process: it only has to be the same for both.
"""

import statistics
import time

from . import machine
from .client import Client

CONNECTIONS = 16


def crc16(data):
    """CRC-16/XMODEM, which Redis Cluster uses for its slots."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def tag_of_half(upper):
    """A hash tag whose slot lies in the wanted half of 16384."""
    for i in range(1000):
        tag = f"t{i}"
        if (crc16(tag.encode()) % 16384 >= 8192) == upper:
            return tag
    raise AssertionError("no tag found in a thousand")


def busiest_thread(pid, work):
    """The server thread that used most CPU while `work` ran."""
    before = machine.thread_times(pid)
    work()
    after = machine.thread_times(pid)
    return max(after, key=lambda tid: after[tid] - before.get(tid, 0.0))


def connections_of_one_core(server, wanted):
    """`wanted` connections that are all served by the same thread."""
    by_thread = {}
    ping = Client.encode("PING") * 64
    for _ in range(wanted * 20):
        c = server.client()

        def work(c=c):
            for _ in range(30):
                c.socket.sendall(ping)
                for _ in range(64):
                    c.reply()

        group = by_thread.setdefault(busiest_thread(server.pid, work), [])
        group.append(c)
        if len(group) == wanted:
            for other in by_thread.values():
                if other is not group:
                    for c in other:
                        c.close()
            return group
    raise SystemExit("the connections did not gather on any thread; is the server running with two shards?")


def batches(command, tag, size, depth):
    """Pipelines of `depth` commands over 10,000 keys of one shard, and the bytes each reply has."""
    value = "x" * size
    out = []
    for start in range(0, 10_000, depth):
        keys = [f"{{{tag}}}:{start + i:06d}" for i in range(depth)]
        out.append(b"".join(Client.encode("SET", k, value) if command == "set" else Client.encode("GET", k) for k in keys))
    reply = 5 if command == "set" else len(f"${size}\r\n") + size + 2
    return out, reply * depth


def drive(clients, work, expected, seconds):
    """Keeps one pipeline in flight on every connection; returns how many pipelines were answered."""
    ends, done, at = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends:
        for c in clients:
            c.socket.sendall(work[at % len(work)])
            at += 1
        for c in clients:
            left = expected
            while left > 0:
                got = len(c.socket.recv(1 << 18))
                if got == 0:
                    raise SystemExit("the server closed a connection during the forwarding measurement")
                left -= got
        done += len(clients)
    return done


def measure(make_server, name, rounds, seconds, say):
    """Rows of local and remote CPU an operation, for SET and GET of 64 B at depth 1 and 16."""
    server = make_server(name, "everysec", cpus="0,1", shards=2)
    server.wipe()
    rows = []
    try:
        server.start()
        clients = connections_of_one_core(server, CONNECTIONS)
        tags = [tag_of_half(False), tag_of_half(True)]
        for tag in tags:
            work, expected = batches("set", tag, 64, 16)
            drive(clients, work, expected, 1.0)
        for command, depth in (("set", 16), ("get", 16), ("set", 1), ("get", 1)):
            pairs = []
            for r in range(rounds):
                costs = {}
                for tag in tags if r % 2 == 0 else tags[::-1]:
                    work, expected = batches(command, tag, 64, depth)
                    before = machine.thread_times(server.pid)
                    clock = machine.ThreadClock(server.pid)
                    done = drive(clients, work, expected, seconds)
                    cpu = clock.stop()
                    after = machine.thread_times(server.pid)
                    gains = sorted((after[t] - before.get(t, 0.0) for t in after), reverse=True)
                    costs[tag] = (cpu * 1e6 / (done * depth), gains[1] / max(gains[0], 1e-9))
                # The remote half is the one in which a second thread works too.
                remote, local = sorted(costs.values(), key=lambda v: v[1], reverse=True)
                pairs.append((local[0], remote[0]))
            extra = [b - a for a, b in pairs]
            row = {"cell": f"{command}-64-{depth}", "local": statistics.median(a for a, _ in pairs),
                   "remote": statistics.median(b for _, b in pairs), "extra": statistics.median(extra),
                   "least": min(extra), "most": max(extra)}
            say(f"  {row['cell']}: local {row['local']:.2f} us/op, remote {row['remote']:.2f}, {row['extra']:+.2f}")
            rows.append(row)
        for c in clients:
            c.close()
    finally:
        server.wipe()
    return rows
