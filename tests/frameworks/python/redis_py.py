"""redis-py beyond single commands (those are in tests/clients.py): what waits, what is sent unasked, what comes back."""

import asyncio
import threading
import time

import redis
import redis.asyncio
from redis.retry import Retry
from redis.backoff import ConstantBackoff
from surroundings import OPTIONS, eventually, restart, run

PATIENT = OPTIONS | dict(retry=Retry(ConstantBackoff(0.05), 200))
r = redis.Redis(**OPTIONS)


def somebody_waits():
    return r.info("clients")["blocked_clients"] > 0


def publish_and_subscribe():
    for protocol in (2, 3):
        c = redis.Redis(protocol=protocol, **OPTIONS)
        p = c.pubsub(ignore_subscribe_messages=True)
        heard = []
        p.subscribe("news")
        p.psubscribe(**{"w*": heard.append})
        # Both are confirmed before something is sent.
        eventually("two subscriptions", lambda: p.get_message() or c.pubsub_numpat() == 1 and c.pubsub_numsub("news")[0][1] == 1)
        assert c.publish("news", "one") == 1 and c.publish("weather", "two") == 1
        message = eventually("a message", lambda: p.get_message(timeout=1))
        assert (message["type"], message["data"]) == ("message", b"one")
        eventually("a message by pattern", lambda: p.get_message(timeout=1) or heard)
        assert heard[0]["channel"] == b"weather"
        p.close()
        eventually("nobody listens", lambda: c.publish("news", "x") == 0)
        c.close()


def keyspace_events():
    r.config_set("notify-keyspace-events", "KEA")
    p = r.pubsub(ignore_subscribe_messages=True)
    p.psubscribe("__keyevent@0__:*")
    eventually("the subscription", lambda: p.get_message(timeout=1) is None and r.pubsub_numpat() == 1)
    r.set("told", 1, px=30)
    kinds = []
    eventually("it expires", lambda: (m := p.get_message(timeout=1)) and kinds.append(m["channel"]) or b"__keyevent@0__:expired" in kinds)
    assert kinds == [b"__keyevent@0__:set", b"__keyevent@0__:expire", b"__keyevent@0__:expired"]
    p.close()
    r.config_set("notify-keyspace-events", "")


def blocking():
    got = []
    waiter = threading.Thread(target=lambda: got.append(r.blpop(["queue", "other"], timeout=20)))
    waiter.start()
    eventually("somebody waits", somebody_waits)
    r.rpush("queue", "job")
    waiter.join()
    assert got == [[b"queue", b"job"]] or got == [(b"queue", b"job")], got
    assert r.blpop("queue", timeout=0.05) is None
    r.zadd("board", {"a": 1, "b": 2})
    assert r.bzpopmax("board", timeout=1)[1] == b"b"


def streams():
    r.xgroup_create("log", "readers", "$", mkstream=True)
    ids = [r.xadd("log", {"i": i}, maxlen=1000, approximate=True) for i in range(10)]
    ((name, entries),) = items(r.xreadgroup("readers", "one", {"log": ">"}, count=4))
    entries = entries[0] if isinstance(entries[0], list) else entries
    assert name == b"log" and [i for i, _ in entries] == ids[:4] and entries[1][1] == {b"i": b"1"}
    assert r.xack("log", "readers", ids[0]) == 1
    assert r.xpending("log", "readers")["pending"] == 3
    assert [p["message_id"] for p in r.xpending_range("log", "readers", "-", "+", 10)] == ids[1:4]
    assert len(r.xclaim("log", "readers", "two", 0, ids[1:3])) == 2
    assert len(r.xautoclaim("log", "readers", "three", 0)[1]) == 3
    assert r.xinfo_groups("log")[0]["lag"] == 6 and r.xinfo_stream("log")["length"] == 10
    assert r.xtrim("log", maxlen=5, approximate=False) == 5 and r.xlen("log") == 5


def items(reply):
    """RESP2's list of pairs and RESP3's map, alike."""
    return reply.items() if isinstance(reply, dict) else reply


def iterators():
    with r.pipeline(transaction=False) as p:
        for i in range(1500):
            p.set(f"p:{i}", i).hset("wide", f"f{i}", i).sadd("bag", i).zadd("ranks", {i: i})
        p.execute()
    assert len(set(r.scan_iter("p:*", count=100))) == 1500
    assert len(dict(r.hscan_iter("wide"))) == 1500
    assert len(set(r.sscan_iter("bag"))) == 1500
    assert len(dict(r.zscan_iter("ranks"))) == 1500
    assert set(r.scan_iter(_type="zset")) >= {b"ranks"}


def monitoring():
    with r.monitor() as m:
        r.set("seen", "by monitor")
        while "seen" not in (line := m.next_command())["command"]:
            pass
        assert line["command"] == "SET seen by monitor" and line["client_port"]


async def many_at_once():
    pool = redis.asyncio.BlockingConnectionPool(connection_class=redis.asyncio.SSLConnection, max_connections=8, timeout=60,
                                                **{k: v for k, v in OPTIONS.items() if k != "ssl"})
    c = redis.asyncio.Redis(connection_pool=pool)
    await c.set("sum", 0)

    async def add():
        async def change(p):
            n = int(await p.get("sum"))
            p.multi()
            p.set("sum", n + 1)

        await c.transaction(change, "sum")

    await asyncio.gather(*(add() for _ in range(60)))
    assert await c.get("sum") == b"60"
    async with c.pubsub() as p:
        await p.subscribe("async")
        await p.get_message(timeout=10)
        await c.publish("async", "hello")
        assert (await p.get_message(ignore_subscribe_messages=True, timeout=10))["data"] == b"hello"
    await c.aclose()
    await pool.aclose()


def asynchronous():
    asyncio.run(many_at_once())


def locks():
    lock = r.lock("lock", timeout=10)
    assert lock.acquire() and not r.lock("lock", timeout=10).acquire(blocking=False)
    assert lock.extend(20) and lock.reacquire() and lock.owned()
    lock.release()
    assert not r.exists("lock")
    counted = []

    def work():
        for _ in range(5):
            with r.lock("counter-lock", timeout=30, sleep=0.005):
                n = len(counted)
                time.sleep(0.001)
                counted.append(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert counted == list(range(20))


def scripts():
    double = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1] * 2)")
    assert double(keys=["doubled"], args=[21]) == 42
    r.script_flush()
    assert double(keys=["doubled"], args=[21]) == 84
    with r.pipeline() as p:
        double(keys=["doubled"], args=[1], client=p)
        p.get("doubled")
        assert p.execute() == [86, b"86"]
    assert r.function_load("#!lua name=ours\nredis.register_function('twice', function(k, a) return a[1] * 2 end)", replace=True)
    assert r.fcall("twice", 0, 4) == 8


def comes_back_after_a_restart():
    c = redis.Redis(**PATIENT)
    p = c.pubsub(ignore_subscribe_messages=True)
    p.subscribe("after")
    p.get_message(timeout=10)
    c.set("kept", "yes")
    restart()
    assert c.get("kept") == b"yes"
    p.get_message(timeout=0.1)  # connects again, and subscribes again
    eventually("the subscription is made again", lambda: c.publish("after", "x") == 1 or p.get_message(timeout=0.1))
    assert eventually("a message", lambda: p.get_message(timeout=1))["data"] == b"x"


if __name__ == "__main__":
    r.flushall()
    run(publish_and_subscribe, keyspace_events, blocking, streams, iterators, monitoring, asynchronous, locks,
        scripts, comes_back_after_a_restart)
