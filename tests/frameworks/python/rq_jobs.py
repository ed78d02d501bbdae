"""RQ: jobs that are enqueued here and worked off by real workers, which fork for each job."""

from datetime import timedelta

import redis
from rq import Queue, Retry, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry
from rq.scheduler import RQScheduler
from surroundings import OPTIONS, run

r = redis.Redis(**OPTIONS)
queue = Queue("work", connection=r)
urgent = Queue("urgent", connection=r)


def add(a, b):
    return a + b


def fail():
    raise RuntimeError("as asked")


def fail_once(counter):
    if redis.Redis(**OPTIONS).incr(counter) == 1:
        raise RuntimeError("the first time")
    return "the second time"


def note(key, what):
    redis.Redis(**OPTIONS).rpush(key, what)


def work():
    """A worker that ends when nothing is left to do."""
    Worker([urgent, queue], connection=r).work(burst=True, logging_level="CRITICAL")


def jobs_and_results():
    jobs = queue.enqueue_many([Queue.prepare_data(add, (i, 1), result_ttl=500) for i in range(5)])
    assert queue.count == 5 and jobs[0].get_status() == "queued"
    work()
    assert [j.return_value() for j in jobs] == [1, 2, 3, 4, 5]
    assert queue.count == 0 and FinishedJobRegistry(queue=queue).count == 5
    assert Job.fetch(jobs[0].id, connection=r).get_status() == "finished"


def order_of_queues():
    for i in range(2):
        queue.enqueue(note, "order", f"work {i}")
    urgent.enqueue(note, "order", "urgent")
    queue.enqueue(note, "order", "at the front", at_front=True)
    work()
    assert r.lrange("order", 0, -1) == [b"urgent", b"at the front", b"work 0", b"work 1"]


def failures():
    job = queue.enqueue(fail)
    work()
    registry = FailedJobRegistry(queue=queue)
    assert job.get_status(refresh=True) == "failed" and job.id in registry
    assert "as asked" in job.latest_result().exc_string
    registry.requeue(job.id)
    assert job.get_status(refresh=True) == "queued" and registry.count == 0
    job.delete()
    again = queue.enqueue(fail_once, "tries", retry=Retry(max=2))
    work()
    assert again.return_value(refresh=True) == "the second time"


def dependencies():
    first = queue.enqueue(add, 1, 2)
    second = queue.enqueue(add, 3, 4)
    last = queue.enqueue(note, "after", "both", depends_on=[first, second])
    assert last.get_status() == "deferred"
    work()
    assert r.lrange("after", 0, -1) == [b"both"] and last.get_status(refresh=True) == "finished"


def scheduled():
    job = queue.enqueue_in(timedelta(seconds=0), add, 20, 22)
    later = queue.enqueue_in(timedelta(hours=1), add, 1, 1)
    assert ScheduledJobRegistry(queue=queue).count == 2
    scheduler = RQScheduler([queue], connection=r)
    assert scheduler.acquire_locks() == {"work"}
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()
    work()
    assert job.return_value(refresh=True) == 42 and later.get_status(refresh=True) == "scheduled"
    later.cancel()
    assert ScheduledJobRegistry(queue=queue).count == 0


if __name__ == "__main__":
    # Jobs name their functions by module: this one, under its own name and not as the main program.
    import rq_jobs

    r.flushall()
    run(rq_jobs.jobs_and_results, rq_jobs.order_of_queues, rq_jobs.failures, rq_jobs.dependencies, rq_jobs.scheduled)
