"""redis-py's normal work against a server over TLS. Usage: clients.py PORT CA_FILE

Every step asserts; the last line printed is "all good".
"""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio


def strings(r):
    assert r.set("greeting", "hello") is True
    assert r.get("greeting") == b"hello"
    assert r.get("nothing") is None
    assert r.set("greeting", "x", nx=True) is None
    assert r.set("greeting", "new", xx=True, get=True) == b"hello"
    assert r.append("greeting", "er") == 5
    assert r.strlen("greeting") == 5
    assert r.setrange("greeting", 0, "old") == 5
    assert r.getrange("greeting", 0, 2) == b"old"
    assert r.mset({"m1": 1, "m2": 2, "m3": 3}) is True
    assert r.mget("m1", "none", "m3") == [b"1", None, b"3"]
    assert r.msetnx({"m1": 9, "m9": 9}) in (0, False)
    assert r.exists("m9") == 0
    assert r.incr("n") == 1 and r.incrby("n", 41) == 42 and r.decr("n") == 41
    assert r.incrbyfloat("f", 0.5) == 0.5 and r.incrbyfloat("f", 0.25) == 0.75
    assert r.getdel("m1") == b"1" and r.getex("m2", ex=100) == b"2" and 90 < r.ttl("m2") <= 100
    binary = bytes(range(256)) * 100
    r.set(binary[:300], binary)
    assert r.get(binary[:300]) == binary
    r.set("ohmytext", "ohmytext"), r.set("mynewtext", "mynewtext")
    assert r.lcs("ohmytext", "mynewtext") == b"mytext"


def keys(r):
    r.flushall()
    for i in range(300):
        r.set(f"key:{i}", i)
    assert r.dbsize() == 300
    assert len(set(r.scan_iter(match="key:*", count=50))) == 300
    assert sorted(r.keys("key:1?")) == [b"key:%d" % i for i in range(10, 20)]
    assert r.type("key:1") == b"string" and r.type("none") == b"none"
    assert r.rename("key:1", "moved") is True and r.renamenx("key:2", "moved") is False
    assert r.copy("moved", "copied") is True and r.get("copied") == b"1"
    assert r.delete("moved", "copied", "none") == 2 and r.unlink("key:3") == 1
    assert r.touch("key:4", "none") == 1
    assert r.randomkey() is not None
    assert r.expire("key:5", 100) is True and r.expire("key:5", 50, gt=True) is False
    assert r.persist("key:5") is True and r.ttl("key:5") == -1
    assert r.pexpire("key:6", 60) is True
    end = time.monotonic() + 30
    while r.exists("key:6"):
        assert time.monotonic() < end, "it does not expire"
        time.sleep(0.01)
    assert r.object("encoding", "key:7") == b"int"
    r.flushdb()
    assert r.dbsize() == 0


def transactions(r):
    with r.pipeline(transaction=True) as p:
        assert p.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]
    with r.pipeline(transaction=False) as p:
        for i in range(2000):
            p.set(f"p{i}", i)
        assert p.execute() == [True] * 2000
    with r.pipeline() as p:
        p.watch("a")
        r.set("a", 50)
        p.multi()
        p.set("a", 51)
        try:
            p.execute()
            raise AssertionError("WATCH saw nothing")
        except redis.WatchError:
            pass
    r.set("total", 0)

    def add():
        for _ in range(50):
            r.transaction(lambda p: (lambda n: (p.multi(), p.set("total", n + 1)))(int(p.get("total"))), "total")

    threads = [threading.Thread(target=add) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert r.get("total") == b"200"
    with r.pipeline() as p:
        p.set("s", "text").incr("s").set("t", 1)
        results = p.execute(raise_on_error=False)
        assert results[0] is True and isinstance(results[1], redis.ResponseError) and results[2] is True


def server(r):
    assert r.ping() is True
    assert r.echo("x") == b"x"
    assert r.client_setname("worker") and r.client_getname() in (b"worker", "worker")
    assert any(c["name"] == "worker" for c in r.client_list())
    assert r.client_id() > 0
    info = r.info()
    assert info["connected_clients"] >= 1 and info["redis_version"]
    assert isinstance(r.info("encryption"), dict) and r.info("keyspace")
    assert r.config_get("maxclients") == {"maxclients": "10000"}
    assert r.config_set("slowlog-max-len", 64) is True
    assert r.command_count() > 50 and "get" in r.command()
    assert r.time()[0] > 1_700_000_000
    assert isinstance(r.slowlog_get(), list)
    r.set("words", "and no number")
    for bad in (("SET", "k"), ("NOSUCH",), ("INCR", "words")):
        try:
            r.execute_command(*bad)
            raise AssertionError(f"{bad} went through")
        except redis.ResponseError:
            pass


async def asynchronous(options):
    r = redis.asyncio.Redis(**options)
    await r.set("async", 0)
    assert sorted(await asyncio.gather(*(r.incr("async") for _ in range(60)))) == list(range(1, 61))
    await r.aclose()


def main():
    port, ca = sys.argv[1:]
    for protocol in (2, 3):
        options = dict(host="localhost", port=int(port), ssl=True, ssl_ca_certs=ca, protocol=protocol)
        r = redis.Redis(single_connection_client=False, **options)
        strings(r), keys(r), transactions(r)
        server(redis.Redis(single_connection_client=True, **options))
        asyncio.run(asynchronous(options))
        r.close()
        print(f"RESP{protocol}: done with redis-py {redis.__version__}")
    print("all good")


if __name__ == "__main__":
    main()
