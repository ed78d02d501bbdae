"""What one client feels while another does something long: GETs sent when due, timed from when they were due.

A probe is a process of its own, so that it shares no interpreter with whoever causes the pause. It asks every
`interval` seconds; where an answer is late the requests that fell due meanwhile are sent at once after it, and their
latency counts from when they were due. So a pause of 100 ms shows in all the requests that it delayed, not in one.
"""

import multiprocessing
import os
import time

from .client import Client

KEY = "probe"


def percentile(ordered, share):
    """The value that `share` of the sorted latencies do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _run(port, ca, cpu, interval, realtime, pipe):
    os.sched_setaffinity(0, {cpu})
    if realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    late = []
    with Client(port, ca) as client:
        request = client.encode("GET", KEY)
        client.call("GET", KEY)
        pipe.send("ready")
        due = time.perf_counter()
        while not pipe.poll():
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
            client.socket.sendall(request)
            client.reply()
            late.append(time.perf_counter() - due)
            due += interval
    pipe.send(late)


class Probe:
    """Probes while its block runs; `summary` is there afterwards, in milliseconds."""

    def __init__(self, server, cpu, interval, realtime):
        here, there = multiprocessing.get_context("fork").Pipe()
        self.pipe = here
        self.summary = None
        self.process = multiprocessing.get_context("fork").Process(
            target=_run, args=(server.port, server.ca, cpu, interval, realtime, there), daemon=True)

    def __enter__(self):
        self.process.start()
        if self.pipe.recv() != "ready":
            raise RuntimeError("the probe did not start")
        return self

    def __exit__(self, kind, *_):
        if kind is not None or not self.process.is_alive():
            self.process.kill()
            return
        self.pipe.send("stop")
        # A server that answers nothing for this long is no measurement any more.
        if not self.pipe.poll(120):
            self.process.kill()
            raise RuntimeError("the probe has had no answer for two minutes")
        late = sorted(1000 * x for x in self.pipe.recv())
        self.process.join()
        self.summary = {
            "samples": len(late), "p50": percentile(late, 0.5), "p99": percentile(late, 0.99),
            "p999": percentile(late, 0.999), "max": late[-1],
        }
