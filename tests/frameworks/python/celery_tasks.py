"""Celery: the server as broker and as store of results, for a worker with two processes and for a beat."""

import os
import ssl
import subprocess
import sys
import tempfile

from celery import Celery, chain, chord, group
from surroundings import CA, CERT, KEY, OPTIONS, eventually, run, url

FILES = dict(ssl_cert_reqs=ssl.CERT_REQUIRED, ssl_ca_certs=CA) | (dict(ssl_certfile=CERT, ssl_keyfile=KEY) if CERT else {})
app = Celery("celery_tasks", broker=url().split("?")[0], backend=url(1))
app.conf.update(
    broker_use_ssl=FILES,
    redis_backend_use_ssl=FILES,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    task_acks_late=True,
    task_queue_max_priority=9,
    result_extended=True,
    beat_schedule={"tick": {"task": "celery_tasks.tick", "schedule": 0.2}},
)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def stubborn(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def fail():
    raise ValueError("as asked")


@app.task
def tick():
    import redis

    redis.Redis(**OPTIONS, db=2).incr("ticks")


def one_task():
    result = add.delay(2, 3)
    assert result.get(timeout=60) == 5 and result.state == "SUCCESS"


def many_tasks():
    assert group(add.s(i, i) for i in range(40))().get(timeout=60) == [2 * i for i in range(40)]


def chains_and_chords():
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=60) == 10
    assert chord((add.s(i, 1) for i in range(10)), total.s())().get(timeout=60) == 55
    assert chain(group(add.s(i, 1) for i in range(4)), total.s(), add.s(1))().get(timeout=60) == 11


def retries_and_failures():
    assert stubborn.delay().get(timeout=60) == 2
    try:
        fail.delay().get(timeout=60)
        raise AssertionError("it did not fail")
    except ValueError as why:
        assert "as asked" in str(why)


def countdown_and_revoke():
    assert add.apply_async((1, 1), countdown=0.2).get(timeout=60) == 2
    late = add.apply_async((1, 1), countdown=3600)
    late.revoke()
    eventually("every worker knows", lambda: late.id in next(iter((app.control.inspect().revoked() or {"": []}).values())))


def remote_control():
    assert len(app.control.ping(timeout=5)) == 1
    assert next(iter(app.control.inspect(timeout=5).stats().values()))["pool"]["max-concurrency"] == 2


def beat():
    import redis

    eventually("three ticks of the clock", lambda: int(redis.Redis(**OPTIONS, db=2).get("ticks") or 0) >= 3)


if __name__ == "__main__":
    import celery_tasks
    import redis

    redis.Redis(**OPTIONS).flushall()
    with tempfile.TemporaryDirectory() as scratch:
        worker = subprocess.Popen(
            [sys.executable, "-B", "-m", "celery", "-A", "celery_tasks", "worker", "--beat", "-s", f"{scratch}/beat",
             "--concurrency=2", "--loglevel=WARNING", "--without-mingle"],
            stdin=subprocess.DEVNULL, cwd=os.path.dirname(os.path.abspath(__file__)),
        )
        try:
            run(celery_tasks.one_task, celery_tasks.many_tasks, celery_tasks.chains_and_chords, celery_tasks.retries_and_failures,
                celery_tasks.countdown_and_revoke, celery_tasks.remote_control, celery_tasks.beat)
        finally:
            worker.terminate()
            assert worker.wait(60) == 0, "the worker did not end well"
