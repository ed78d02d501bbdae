"""A site on Flask with Flask-Limiter: fixed, moving and sliding windows, counted in Lua."""

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.storage import storage_from_string
from surroundings import run, url


def site(strategy):
    app = Flask(strategy)
    limiter = Limiter(get_remote_address, app=app, storage_uri=url(), strategy=strategy, headers_enabled=True, key_prefix=strategy)

    @app.route("/few")
    @limiter.limit("3/hour")
    def few():
        return "here"

    @app.route("/many")
    @limiter.limit("1000/hour;2/second")
    def many():
        return "here"

    return app.test_client()


def each_strategy():
    for strategy in ("fixed-window", "moving-window", "sliding-window-counter"):
        client = site(strategy)
        answers = [client.get("/few") for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429], strategy
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0", "0"], strategy
        other = client.get("/few", environ_base={"REMOTE_ADDR": "127.0.0.2"})
        assert other.status_code == 200, strategy
        assert 429 in [client.get("/many").status_code for _ in range(30)], strategy


def the_storage():
    storage = storage_from_string(url())
    assert storage.check()
    assert [storage.incr("hits", 100) for _ in range(3)] == [1, 2, 3] and storage.get("hits") == 3
    assert storage.acquire_entry("entries", 2, 100) and storage.acquire_entry("entries", 2, 100)
    assert not storage.acquire_entry("entries", 2, 100)
    assert storage.get_moving_window("entries", 2, 100)[1] == 2
    storage.clear("hits")
    assert storage.get("hits") == 0
    assert storage.reset() > 0


if __name__ == "__main__":
    run(each_strategy, the_storage)
