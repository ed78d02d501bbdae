"""Load from redis-benchmark, and keys put there beforehand.

redis-benchmark is a closed loop: each of its clients waits for its answers before it asks again. So its
latencies are for comparison between servers under the same loop, not a statement about tails at a given rate.
"""

import re
import subprocess
from dataclasses import dataclass

from . import commands
from .client import Client

GENERATOR_CPU = "1"


@dataclass
class Outcome:
    """One run of the generator. Latencies in milliseconds."""

    operations: int
    seconds: float
    rate: float
    p50: float
    p99: float
    p999: float
    worst: float
    generator_cpu: float


def parse(text, operations):
    """Reads what redis-benchmark prints when neither -q nor --csv is given."""
    seconds = re.search(r"requests completed in ([\d.]+) seconds", text)
    rate = re.search(r"throughput summary: ([\d.]+)", text)
    summary = re.search(r"avg\s+min\s+p50\s+p95\s+p99\s+max\s*\n\s*([\d.\s]+)", text)
    if not (seconds and rate and summary):
        raise SystemExit(f"redis-benchmark said what is not understood:\n{text[-2000:]}")
    _, _, p50, _, p99, worst = (float(x) for x in summary.group(1).split()[:6])
    p999 = worst
    for share, at in re.findall(r"([\d.]+)% <= ([\d.]+) milliseconds \(cumulative", text):
        if float(share) >= 99.9:
            p999 = float(at)
            break
    rate = float(rate.group(1))
    return Outcome(operations, operations / rate, rate, p50, p99, p999, worst, 0.0)


def run(server, command, size, depth, clients, operations, keys):
    """Runs `operations` of a command over `keys` random keys or elements against a server."""
    words = ["taskset", "-c", GENERATOR_CPU, "redis-benchmark", *server.benchmark_words(),
             "-d", str(size), "-P", str(depth), "-c", str(clients),
             "-n", str(operations), "-r", str(keys), "--precision", "3", *commands.words(command, size)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text, _ = process.communicate()
    if process.returncode != 0 or "Error" in text:
        raise SystemExit(f"{' '.join(words)}\nfailed ({process.returncode}):\n{text[-2000:]}\n"
                         f"-- {server.name}'s log --\n{server.log_tail()}")
    return parse(text, operations)


def fill(server, keys, size, form="key:%012d"):
    """Stores `keys` keys of `size` bytes under the names redis-benchmark uses (or another form)."""
    value = bytes(97 + i % 26 for i in range(size))
    head = b"*3\r\n$3\r\nSET\r\n$%d\r\n" % len(form % 0)
    tail = b"\r\n$%d\r\n%s\r\n" % (size, value)
    name = form.encode()
    window = max(1, min(2000, (1 << 20) // (size + 64)))
    with server.client() as c:
        assert isinstance(c, Client)
        good = c.pipeline((head + name % i + tail for i in range(keys)), window)
    if good != keys:
        raise SystemExit(f"{server.name}: only {good} of {keys} keys were stored\n{server.log_tail()}")
