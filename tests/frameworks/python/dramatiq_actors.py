"""Dramatiq: actors, with retries, delays, pipelines and limits. Its broker is one Lua script."""

import json
import logging
import time

import dramatiq
import redis
from dramatiq import Worker, group, pipeline
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as Limits
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from surroundings import OPTIONS, eventually, run

r = redis.Redis(**OPTIONS)
broker = RedisBroker(**OPTIONS)
broker.add_middleware(Results(backend=RedisBackend(client=r)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(a, b):
    return a + b


@dramatiq.actor(max_retries=5, min_backoff=10, max_backoff=50)
def stubborn(key):
    if r.incr(key) < 3:
        raise RuntimeError("not yet")


@dramatiq.actor(max_retries=0)
def fail():
    raise RuntimeError("as asked")


def messages():
    sent = [add.send(i, 1) for i in range(30)]
    assert [m.get_result(block=True, timeout=60_000) for m in sent] == list(range(1, 31))
    broker.join("default")


def pipelines_and_groups():
    assert pipeline([add.message(1, 2), add.message(3), add.message(4)]).run().get_result(block=True, timeout=60_000) == 10
    assert list(group([add.message(i, i) for i in range(5)]).run().get_results(block=True, timeout=60_000)) == [0, 2, 4, 6, 8]


def delays():
    began = time.monotonic()
    assert add.send_with_options(args=(1, 1), delay=200).get_result(block=True, timeout=60_000) == 2
    assert time.monotonic() - began >= 0.2


def retries_and_the_dead():
    stubborn.send("tries")
    eventually("the third try", lambda: int(r.get("tries") or 0) == 3)
    fail.send()
    (dead,) = eventually("a dead letter", lambda: r.hvals("dramatiq:default.XQ.msgs"))
    assert json.loads(dead)["actor_name"] == "fail"


def limits():
    limiter = ConcurrentRateLimiter(Limits(client=r), "door", limit=1)
    with limiter.acquire(raise_on_failure=False) as first:
        with limiter.acquire(raise_on_failure=False) as second:
            assert first and not second
    with limiter.acquire(raise_on_failure=False) as again:
        assert again


if __name__ == "__main__":
    r.flushall()
    logging.disable(logging.CRITICAL)  # failures are part of the show
    worker = Worker(broker, worker_threads=4, worker_timeout=100)
    worker.start()
    try:
        run(messages, pipelines_and_groups, delays, retries_and_the_dead, limits)
    finally:
        worker.stop()
