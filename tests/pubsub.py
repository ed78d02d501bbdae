"""redis-py's publish and subscribe, and its client-side caching, against a server over TLS. Usage: pubsub.py PORT CA_FILE

Every step asserts; the last line printed is "all good".
"""

import sys
import time

import redis
from redis.cache import CacheConfig


def connect(**more):
    return redis.Redis(host="localhost", port=int(sys.argv[1]), ssl=True, ssl_ca_certs=sys.argv[2], **more)


def message(p):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        got = p.get_message(timeout=1)
        if got is not None:
            return got
    raise AssertionError("no message")


def listening(protocol):
    r = connect(protocol=protocol)
    p = r.pubsub()
    p.subscribe("news")
    p.psubscribe("n*")
    p.ssubscribe("sharded")
    assert [message(p)["type"] for _ in range(3)] == ["subscribe", "psubscribe", "ssubscribe"]
    assert r.publish("news", "hello") == 2
    assert {message(p)["type"], message(p)["type"]} == {"message", "pmessage"}
    assert r.spublish("sharded", "x") == 1
    assert message(p)["data"] == b"x"
    assert r.pubsub_channels() == [b"news"] and r.pubsub_numpat() == 1
    assert r.pubsub_numsub("news", "none") == [(b"news", 1), (b"none", 0)]
    p.ping()
    assert message(p)["type"] == "pong"
    heard = []
    q = r.pubsub(ignore_subscribe_messages=True)
    q.subscribe(handled=lambda m: heard.append(m["data"]))
    thread = q.run_in_thread(sleep_time=0.01)
    end = time.monotonic() + 30
    while not heard:
        assert time.monotonic() < end
        r.publish("handled", "again")
        time.sleep(0.01)
    thread.stop()
    thread.join()
    p.unsubscribe(), p.punsubscribe(), p.sunsubscribe()
    assert [message(p)["type"] for _ in range(3)] == ["unsubscribe", "punsubscribe", "sunsubscribe"]
    p.close()


def caching():
    # The client asks for a version of Redis that this server does not claim to be; it needs nothing else of it.
    redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"
    r, other = connect(protocol=3, cache_config=CacheConfig()), connect()
    other.set("k", "1")
    assert r.get("k") == b"1"
    cache = r.get_cache()
    assert cache.size == 1
    assert r.get("k") == b"1"
    other.set("k", "2")
    end = time.monotonic() + 30
    while r.get("k") != b"2":
        assert time.monotonic() < end, "the copy stays"
        time.sleep(0.01)
    assert r.get("k") == b"2"


listening(2)
listening(3)
caching()
print("all good")
