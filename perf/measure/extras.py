"""The figures that are not a cell of the grid: memory, recovery, commits against fio, syscalls, forwarding."""

import json
import signal
import statistics
import subprocess
import time

from . import load, machine
from .matrix import Cell, one_arm

MANY = 2_000_000
"""Keys for the memory and recovery figures: 11 B names, 64 B values."""

FORM = "k%010d"


def memory_and_recovery(make_server, names, keys, say):
    """Bytes of resident memory a key, and seconds from exec to all keys served, after kill -9."""
    out = []
    for name in names:
        server = make_server(name, "everysec", cpus="0,1", shards=2)
        server.wipe()
        try:
            empty = min(_restart(server) for _ in range(3))
            before = machine.rss_bytes(server.pid)
            load.fill(server, keys, 64, FORM)
            after = machine.rss_bytes(server.pid)
            time.sleep(1.5)
            loaded = []
            for _ in range(3):
                server.stop(signal.SIGKILL)
                loaded.append(server.start())
                with server.client() as c:
                    found = c.call("DBSIZE")
                if found != keys:
                    raise SystemExit(f"{name}: {found} of {keys} keys after the restart\n{server.log_tail()}")
            net = statistics.median(loaded) - empty
            row = {"server": name, "keys": keys, "rss_per_key": after / keys, "added_per_key": (after - before) / keys,
                   "empty_start": empty, "loaded_start": loaded, "keys_per_second": keys / max(net, 1e-3),
                   "disk_per_key": machine.tree_bytes(server.home / "data") / keys}
            say(f"  {name}: {row['rss_per_key']:.0f} B a key ({row['added_per_key']:.0f} added), recovery "
                f"{row['keys_per_second'] / 1e6:.2f} M keys/s")
            out.append(row)
        finally:
            server.wipe()
    return out


def _restart(server):
    server.stop()
    return server.start()


def fio(directory, block, seconds):
    """Overwrites per second of one file with O_DIRECT and O_DSYNC, one at a time, in blocks of `block` bytes."""
    file = directory / "fio.dat"
    common = ["fio", "--name=overwrite", f"--filename={file}", "--size=256m", f"--bs={block}", "--direct=1",
              "--ioengine=psync", "--rw=write", "--output-format=json"]
    subprocess.run([*common, "--end_fsync=1"], check=True, capture_output=True)
    got = subprocess.run([*common, "--sync=dsync", "--overwrite=1", "--time_based", f"--runtime={seconds}"],
                         check=True, capture_output=True, text=True)
    file.unlink()
    return json.loads(got.stdout[got.stdout.index("{"):])["jobs"][0]["write"]["iops"]


def _frames(server):
    """Commits so far, as Ferrite counts them; None for a server that does not."""
    with server.client() as c:
        info = c.call("INFO", "persistence").decode()
    found = [line.split(":")[1] for line in info.splitlines() if line.startswith("log_frames:")]
    return int(found[0]) if found else None


def commits(make_server, names, rounds, seconds, home, say):
    """Under `always`: commits a second against fio at the commits' mean size on the device.

    A commit is one durable write, which the device sees as a write and a flush: so Ferrite's are counted by
    Ferrite. Of servers that do not say how often they commit only the operations are reported.
    """
    out = []
    for text in ("set-3-1-c4-always", "set-3-1-c8-always", "set-3-1-c16-always", "set-3-1-always", "set-1k-16-always"):
        cell = Cell.parse(text)
        for name in names:
            server = make_server(name, "always")
            server.wipe()
            try:
                server.start()
                load.fill(server, 1000, cell.size)
                rate = one_arm(server, cell, 3000)["rate"]
                shares = []
                for _ in range(rounds):
                    before = _frames(server)
                    arm = one_arm(server, cell, int(rate * seconds))
                    rate = arm["rate"]
                    after = _frames(server)
                    writes = 0 if before is None else after - before
                    size = arm["disk_bytes"] / max(1, writes)
                    if before is None:
                        shares.append((0, 0, 0, 0, rate))
                        continue
                    block = max(4096, int(size + 2048) // 4096 * 4096)
                    limit = fio(home, block, max(2, int(seconds)))
                    shares.append((writes / arm["seconds"] / limit, writes / arm["seconds"], limit, block, rate))
                shares.sort()
                share, writes, limit, block, rate = shares[len(shares) // 2]
                say(f"  {name} {text}: {rate:.0f} ops/s, {writes:.0f} commits/s of {block} B; "
                    f"fio {limit:.0f}/s: {share:.0%}")
                out.append({"server": name, "cell": text, "rate": rate, "writes": writes, "block": block, "fio": limit,
                            "share": share, "least": shares[0][0], "most": shares[-1][0]})
            finally:
                server.wipe()
    return out


def syscalls(make_server, names, cells, seconds, say):
    """System calls an operation, counted by the kernel's tracepoint in a run of its own."""
    out = []
    for cell in cells:
        for name in names:
            server = make_server(name, cell.policy)
            server.wipe()
            try:
                server.start()
                load.fill(server, cell.keys, cell.size)
                rate = one_arm(server, cell, 5000)["rate"]
                perf = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(server.pid)],
                                        stderr=subprocess.PIPE, text=True)
                time.sleep(0.3)
                operations = max(1000, int(rate * seconds))
                load.run(server, cell.command, cell.size, cell.depth, cell.clients, operations, cell.keys)
                perf.send_signal(signal.SIGINT)
                text = perf.communicate()[1]
                count = next((int(line.split(",")[0]) for line in text.splitlines() if "sys_enter" in line), None)
                if count is not None:
                    out.append({"server": name, "cell": str(cell), "per_op": count / operations})
                    say(f"  {name} {cell}: {count / operations:.3f} syscalls/op")
            finally:
                server.wipe()
    return out


def latency(make_server, names, program, rounds, seconds, say):
    """Latency at offered rates that every server can keep up with, timed from when each request was due."""
    out = []
    for text, rates in (("get-1k-1", (5_000, 20_000)), ("set-1k-1", (5_000, 20_000))):
        cell = Cell.parse(text)
        servers = [make_server(name, cell.policy) for name in names]
        try:
            for server in servers:
                server.wipe()
                server.start()
                load.fill(server, cell.keys, cell.size)
            for rate in rates:
                got = {s.name: [] for s in servers}
                for r in range(rounds):
                    for server in servers if r % 2 == 0 else servers[::-1]:
                        got[server.name].append(_offered(server, cell, program, rate, seconds))
                for name, rows in got.items():
                    rows = [r for r in rows if r]
                    if not rows:
                        say(f"  {name} {text} at {rate}/s: does not keep up")
                        continue
                    row = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
                    say(f"  {name} {text} at {rate}/s: p50 {row['p50']:.0f} p99 {row['p99']:.0f} p99.9 {row['p999']:.0f} us")
                    out.append({"server": name, "cell": text, **row, "worst_max": max(r["max"] for r in rows)})
        finally:
            for server in servers:
                server.wipe()
    return out


def _offered(server, cell, program, rate, seconds):
    words = ["taskset", "-c", load.GENERATOR_CPU, str(program), "--port", str(server.port), "--command", cell.command,
             "--size", str(cell.size), "--keys", str(cell.keys), "--rate", str(rate), "--seconds", str(seconds)]
    if server.ca:
        words += ["--ca", str(server.ca)]
    done = subprocess.run(words, capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None
