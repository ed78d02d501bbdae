"""What the kernel says: CPU time, interrupts, disk traffic, and who else is busy.

Everything here only reads `/proc` and `/sys`. Times are seconds unless a name ends in `_us` or `_ns`.
"""

import os
import platform
import subprocess
import threading
import time
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def read(path):
    """The text of a file of /proc or /sys, or "" when it has gone."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


class ThreadClock:
    """CPU time of one process, user and system, summed over its threads.

    The figures come from /proc/PID/task/*/schedstat (nanoseconds on a CPU). A thread that ends takes its
    entry with it (io_uring's helper threads do), so a sampler keeps the last figure seen of each.
    """

    PERIOD = 0.5

    def __init__(self, pid):
        self.pid = pid
        self.first = self._sample()
        self.last = dict(self.first)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _sample(self):
        seen = {}
        try:
            tids = os.listdir(f"/proc/{self.pid}/task")
        except OSError:
            return seen
        for tid in tids:
            text = read(f"/proc/{self.pid}/task/{tid}/schedstat")
            if text:
                seen[tid] = int(text.split()[0])
        return seen

    def _run(self):
        while not self._stop.wait(self.PERIOD):
            self.last.update(self._sample())

    def stop(self):
        """Seconds of CPU since the clock was made."""
        self._stop.set()
        self._thread.join()
        self.last.update(self._sample())
        return sum(ns - self.first.get(tid, 0) for tid, ns in self.last.items()) / 1e9


def thread_times(pid):
    """CPU seconds of each thread now, by thread id."""
    out = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        text = read(f"/proc/{pid}/task/{tid}/schedstat")
        if text:
            out[int(tid)] = int(text.split()[0]) / 1e9
    return out


def reschedules(cpu):
    """Reschedule interrupts that `cpu` has taken since boot."""
    for line in read("/proc/interrupts").splitlines():
        if line.lstrip().startswith("RES:"):
            return int(line.split()[1 + cpu])
    return 0


def steal_seconds():
    """Time the hypervisor kept for itself, all CPUs, since boot."""
    fields = read("/proc/stat").splitlines()[0].split()
    return int(fields[8]) / CLOCK_TICKS if len(fields) > 8 else 0.0


def _process_times():
    """(user processes, kernel threads): CPU seconds by pid, children that were reaped included."""
    users, kernel = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        text = read(f"/proc/{name}/stat")
        if not text:
            continue
        rest = text[text.rindex(")") + 2 :].split()
        parent, times = int(rest[1]), [int(x) for x in rest[11:15]]
        if parent == 2 or name == "2":
            sched = read(f"/proc/{name}/schedstat")
            kernel[int(name)] = int(sched.split()[0]) / 1e9 if sched else 0.0
        else:
            users[int(name)] = sum(times) / CLOCK_TICKS
    return users, kernel


class Surroundings:
    """How busy the rest of the machine was between `__init__` and `stop`."""

    def __init__(self, ours):
        self.ours = set(ours) | {os.getpid()}
        self.users, self.kernel = _process_times()
        self.steal = steal_seconds()
        self.at = time.monotonic()

    def stop(self):
        """A dict: seconds, and as CPU seconds: others (processes not ours), kernel threads, steal."""
        users, kernel = _process_times()
        others = sum(max(0.0, t - self.users.get(p, 0.0)) for p, t in users.items() if p not in self.ours)
        helpers = sum(max(0.0, t - self.kernel.get(p, 0.0)) for p, t in kernel.items())
        seconds = time.monotonic() - self.at
        return {
            "seconds": seconds,
            # A parent that reaps a long-lived child is credited with all of its time at once: no more than there is.
            "others": min(others, seconds * os.cpu_count()),
            "kernel_threads": helpers,
            "steal": steal_seconds() - self.steal,
        }


def disk_of(path):
    """The block device that holds `path`, as named in /sys/block, or None (tmpfs, overlay)."""
    device = os.stat(path).st_dev
    link = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not link.exists():
        return None
    real = link.resolve()
    return real.parent.name if (real / "partition").exists() else real.name


def disk_writes(device):
    """(write requests, bytes written) of a block device since boot."""
    fields = read(f"/sys/block/{device}/stat").split()
    return (int(fields[4]), int(fields[6]) * 512) if fields else (0, 0)


def rss_bytes(pid):
    """Resident memory of a process."""
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def tree_bytes(path):
    """Bytes allocated to the files under `path`."""
    total = 0
    for base, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
            except OSError:
                pass
    return total


def describe(path):
    """Facts about the machine for the head of a report: a list of (name, text)."""
    model = ""
    flags = []
    for line in read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        if name.strip() == "flags":
            flags = value.split()
    interesting = [f for f in ("aes", "vaes", "avx2", "avx512f", "pclmulqdq", "vpclmulqdq") if f in flags]
    memory = read("/proc/meminfo").split()
    mount = subprocess.run(["findmnt", "-no", "FSTYPE,OPTIONS", "-T", str(path)], capture_output=True, text=True)
    hugepages = read("/sys/kernel/mm/transparent_hugepage/enabled").strip()
    return [
        ("CPU", f"{model}, {os.cpu_count()} online, {' '.join(interesting)}"),
        ("Memory", f"{int(memory[1]) // 1048576} GiB" if len(memory) > 1 else "?"),
        ("Kernel", f"{platform.system()} {platform.release()}"),
        ("Data on", f"{disk_of(path) or 'no block device'}, {mount.stdout.strip()}"),
        ("Huge pages", hugepages),
    ]
