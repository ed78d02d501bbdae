"""A Django site with its cache and its sessions in the server: by Django's own backend, and by django-redis."""

import ssl

import django
from django.conf import settings
from surroundings import CA, CERT, KEY, eventually, run, url

FILES = dict(ssl_cert_reqs=ssl.CERT_REQUIRED, ssl_ca_certs=CA) | (dict(ssl_certfile=CERT, ssl_keyfile=KEY) if CERT else {})
settings.configure(
    SECRET_KEY="not so secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url(), "KEY_PREFIX": "site"},
        "extended": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url(1),
            "OPTIONS": {"CONNECTION_POOL_KWARGS": FILES, "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"},
        },
    },
)
django.setup()

from django.core.cache import cache, caches  # noqa: E402  (after the settings)
from django.http import JsonResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


def leave(request):
    request.session.flush()
    return JsonResponse({})


urlpatterns = [path("visit", visit), path("leave", leave)]


def the_cache():
    for c in caches.all(initialized_only=False):
        c.clear()
        assert c.get("none") is None and c.get("none", 7) == 7
        c.set("a", {"x": [1, 2, "three"]}, timeout=100)
        assert c.get("a") == {"x": [1, 2, "three"]}
        assert c.add("a", 1) is False and c.add("b", 1) is True
        c.set("n", 1)
        assert c.incr("n", 41) == 42 and c.decr("n") == 41
        c.set_many({f"m{i}": i for i in range(50)}, timeout=100)
        assert c.get_many([f"m{i}" for i in range(60)]) == {f"m{i}": i for i in range(50)}
        assert c.touch("a", 200) is True and c.touch("none", 200) is False
        assert c.get_or_set("made", lambda: "once") == "once" == c.get_or_set("made", lambda: "twice")
        c.delete_many(["m1", "m2"])
        assert c.has_key("m3") and not c.has_key("m1")
        c.set("brief", 1, timeout=0.05) if c is not cache else c.set("brief", 1, timeout=1)
        eventually("it expires", lambda: c.get("brief") is None)
        c.set("second", 1, version=2)
        assert c.get("second") is None and c.get("second", version=2) == 1
        c.clear()
        assert c.get("a") is None


def what_django_redis_adds():
    c = caches["extended"]
    c.set_many({f"user:{i}": "x" * 1000 for i in range(120)}, timeout=50)
    assert 40 < c.ttl("user:1") <= 50 and c.persist("user:1") and c.ttl("user:1") is None
    assert len(list(c.iter_keys("user:1?"))) == 10 and len(c.keys("user:*")) == 120
    assert c.delete_pattern("user:*") == 120
    assert c.set("once", 1, nx=True) is True and not c.set("once", 2, nx=True)


def locks():
    c = caches["extended"]
    with c.lock("door", timeout=10):
        assert not c.lock("door", timeout=10).acquire(blocking=False)
    assert c.lock("door", timeout=10).acquire(blocking=False)


def sessions():
    ann, bob = Client(), Client()
    assert [ann.get("/visit").json()["visits"] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert bob.get("/visit").json()["visits"] == 1
    ann.get("/leave")
    assert ann.get("/visit").json()["visits"] == 1 and bob.get("/visit").json()["visits"] == 2


if __name__ == "__main__":
    run(the_cache, what_django_redis_adds, locks, sessions)
