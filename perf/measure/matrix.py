"""The grid: cells times servers, in alternating rounds.

A cell is written `COMMAND-SIZE-DEPTH[-cCLIENTS][-POLICY]`: `set-3-16`, `get-1k-1`, `set-10k-1-always`,
`get-1k-1-c1`; `default` stands for redis-benchmark's default list at depths 1 and 16 (measure/commands.py). Servers of one policy and value size run side by side, one of them under load at a time, so that a
round holds every arm within the same half minute. A ratio is taken inside a round; what is reported is the
median of the rounds' ratios with the smallest and the largest.

A round is thrown out, all arms, when other processes or the hypervisor took more than NOISE of one CPU during
it (or the share given). It is then run again, at most as many times as there are rounds.
"""

import statistics
from dataclasses import dataclass

from . import commands, load, machine

NOISE = 0.05
"""Share of one CPU that others may use during a round."""

WIPE_ABOVE = 3 << 30
"""A server whose files outgrow this starts afresh, so that a run fits on the disk."""

SIZES = {"3": 3, "1k": 1024, "10k": 10240}
KEYS = {3: 1_000_000, 1024: 200_000, 10240: 20_000}


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    command: str
    size: int
    depth: int
    clients: int = 50
    policy: str = "everysec"

    @staticmethod
    def parse(text):
        words = text.lower().split("-")
        if len(words) < 3 or words[0] not in commands.DEFAULT or not words[2].isdigit():
            raise SystemExit(f"cell '{text}' is not COMMAND-SIZE-DEPTH[-cCLIENTS][-POLICY], e.g. set-1k-16-always; "
                             f"commands: {', '.join(commands.DEFAULT)}")
        size = SIZES.get(words[1]) or (int(words[1]) if words[1].isdigit() else 0)
        if not size:
            raise SystemExit(f"cell '{text}': size '{words[1]}' is none of {', '.join(SIZES)} or a number of bytes")
        clients, policy = 50, "everysec"
        for word in words[3:]:
            if word in ("always", "everysec", "no"):
                policy = word
            elif word[:1] == "c" and word[1:].isdigit():
                clients = int(word[1:])
            else:
                raise SystemExit(f"cell '{text}': '{word}' is neither cCLIENTS nor a policy")
        return Cell(words[0], size, int(words[2]), clients, policy)

    @property
    def keys(self):
        return KEYS.get(self.size, max(10_000, min(1_000_000, (200 << 20) // self.size)))

    def __str__(self):
        size = next((k for k, v in SIZES.items() if v == self.size), str(self.size))
        tail = ("" if self.clients == 50 else f"-c{self.clients}") + ("" if self.policy == "everysec" else f"-{self.policy}")
        return f"{self.command}-{size}-{self.depth}{tail}"


def full_grid():
    cells = [f"{c}-{s}-{d}" for s in SIZES for d in (1, 16) for c in ("set", "get")]
    cells += ["set-1k-1-c1", "get-1k-1-c1"]
    cells += [f"set-{s}-{d}-always" for s in SIZES for d in (1, 16)]
    return [Cell.parse(c) for c in cells]


def default_list():
    """redis-benchmark's default list at both depths."""
    return [Cell.parse(f"{c}-3-{d}") for d in (1, 16) for c in commands.DEFAULT]


def quick_grid():
    return [Cell.parse(c) for c in ("set-3-16", "get-3-16", "set-1k-1", "get-1k-1", "set-1k-1-always")]


def one_arm(server, cell, operations):
    """One measured run: a dict of what the generator and the kernel saw."""
    commands.prepare(server, cell.command, cell.size, operations)
    device = machine.disk_of(server.home)
    around = machine.Surroundings([server.pid])
    clock = machine.ThreadClock(server.pid)
    interrupts, writes = machine.reschedules(0), machine.disk_writes(device)
    outcome = load.run(server, cell.command, cell.size, cell.depth, cell.clients, operations, cell.keys)
    interrupts = machine.reschedules(0) - interrupts
    written = [after - before for after, before in zip(machine.disk_writes(device), writes)]
    cpu, around = clock.stop(), around.stop()
    return {
        "cpu_us": cpu * 1e6 / operations, "rate": outcome.rate, "operations": operations,
        "busy": cpu / outcome.seconds, "p50": outcome.p50, "p99": outcome.p99, "p999": outcome.p999,
        "max": outcome.worst, "res_per_op": interrupts / operations,
        "kernel_us": around["kernel_threads"] * 1e6 / operations,
        "disk_writes": written[0], "disk_bytes": written[1], "seconds": outcome.seconds,
        "noise": (around["others"] + around["steal"]) / around["seconds"],
    }


class Group:
    """The arms of one policy and value size, started and filled together."""

    def __init__(self, servers, cell, say):
        self.servers, self.say = servers, say
        self.policy, self.size = cell.policy, cell.size
        for server in servers:
            self._prepare(server, cell)

    def _prepare(self, server, cell):
        server.wipe()
        server.start()
        load.fill(server, cell.keys, cell.size)

    def measure(self, cell, rounds, seconds, limit):
        """The rounds of one cell: a list of {server name: arm}."""
        rates = {}
        for server in self.servers:
            guess = 2000 if cell.policy == "always" else 20_000 if cell.depth > 1 else 5_000
            warm = one_arm(server, cell, guess * max(1, cell.clients // 25))
            rates[server.name] = warm["rate"]
        kept, tries = [], 0
        while len(kept) < rounds and tries < 2 * rounds:
            order = self.servers if tries % 2 == 0 else self.servers[::-1]
            tries += 1
            got = {}
            for server in order:
                if machine.tree_bytes(server.home) > WIPE_ABOVE:
                    self._prepare(server, cell)
                arm = one_arm(server, cell, max(100, int(rates[server.name] * seconds)))
                rates[server.name] = arm["rate"]
                got[server.name] = arm
            noise = max(arm["noise"] for arm in got.values())
            line = "  ".join(f"{n} {a['cpu_us']:.2f}us {a['rate'] / 1000:.0f}k/s" for n, a in sorted(got.items()))
            if noise > limit:
                self.say(f"    round thrown out, others took {noise:.0%} of a CPU: {line}")
                continue
            self.say(f"    {line}")
            kept.append(got)
        if len(kept) < rounds:
            self.say(f"    only {len(kept)} of {rounds} rounds were quiet enough")
        return kept

    def close(self):
        for server in self.servers:
            server.wipe()


def summary(rounds, baseline):
    """Per server: medians, and the ratio to the baseline as (median, min, max) for CPU, p50 and p99."""
    out = {}
    for name in rounds[0] if rounds else ():
        arms = [r[name] for r in rounds]
        row = {k: statistics.median(a[k] for a in arms) for k in arms[0]}
        for what in ("cpu_us", "p50", "p99", "rate"):
            ratios = [r[name][what] / r[baseline][what] for r in rounds if r[baseline][what] > 0]
            row[f"{what}_ratio"] = (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None
        out[name] = row
    return out


def run(cells, make_servers, rounds, seconds, say, limit=NOISE):
    """Measures the cells; `make_servers(policy)` gives unstarted arms, the baseline first."""
    results, group = [], None
    cells = sorted(cells, key=lambda c: (c.policy, c.size))
    try:
        for cell in cells:
            if group is None or (group.policy, group.size) != (cell.policy, cell.size):
                if group:
                    group.close()
                    group = None
                say(f"  starting the servers for {cell.size} B, appendfsync {cell.policy}")
                group = Group(make_servers(cell.policy), cell, say)
            say(f"  {cell}")
            kept = group.measure(cell, rounds, seconds, limit)
            baseline = group.servers[0].name
            results.append({"cell": str(cell), "baseline": baseline, "rounds": kept, "summary": summary(kept, baseline)})
    finally:
        if group:
            group.close()
    return results
