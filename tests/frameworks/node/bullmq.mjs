// BullMQ: queues and workers. Nearly all it does with the server it does in Lua.

import assert from "node:assert/strict";
import { DelayedError, FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } from "bullmq";
import { EventEmitter } from "node:events";
import Redis from "ioredis";
import { eventually, host, password, port, restart, run, sleep, tls, username } from "./surroundings.mjs";

const connection = { host, port, tls, username, password, maxRetriesPerRequest: null };
const redis = new Redis(connection);
redis.on("error", () => {}); // the restart below is no surprise
await redis.flushall();
EventEmitter.defaultMaxListeners = 100; // many jobs are waited for at once

/** A queue, what it tells, and a worker, for as long as `body` runs. */
async function withQueue(name, process, options, body) {
  const queue = new Queue(name, { connection });
  const events = new QueueEvents(name, { connection });
  const worker = new Worker(name, process, { connection, ...options });
  for (const part of [queue, events, worker]) part.on("error", () => {});
  await Promise.all([events.waitUntilReady(), worker.waitUntilReady()]);
  try {
    await body(queue, events, worker);
  } finally {
    await worker.close();
    await events.close();
    await queue.close();
  }
}

async function jobs_and_results() {
  await withQueue("sums", async (job) => (await job.updateProgress(50), job.data.a + job.data.b), { concurrency: 4 }, async (queue, events) => {
    const progress = [];
    events.on("progress", ({ data }) => progress.push(data));
    const one = await queue.add("sum", { a: 1, b: 2 });
    assert.equal(await one.waitUntilFinished(events, 60_000), 3);
    const jobs = await queue.addBulk(Array.from({ length: 50 }, (_, i) => ({ name: "sum", data: { a: i, b: 1 } })));
    assert.deepEqual(await Promise.all(jobs.map((j) => j.waitUntilFinished(events, 60_000))), Array.from({ length: 50 }, (_, i) => i + 1));
    assert.deepEqual(await queue.getJobCounts("completed", "waiting", "active", "failed"), { completed: 51, waiting: 0, active: 0, failed: 0 });
    assert(progress.length > 0);
    await queue.drain();
    await queue.obliterate({ force: true });
    assert.deepEqual(await redis.keys("bull:sums:*"), []);
  });
}

async function retries_and_failures() {
  const work = async (job) => {
    if (job.name === "never") throw new UnrecoverableError("as asked");
    if (job.attemptsMade < 2) throw new Error("not yet");
    return job.attemptsMade;
  };
  await withQueue("stubborn", work, {}, async (queue, events) => {
    const job = await queue.add("later", {}, { attempts: 5, backoff: { type: "exponential", delay: 20 } });
    assert.equal(await job.waitUntilFinished(events, 60_000), 2);
    const never = await queue.add("never", {}, { attempts: 5 });
    await assert.rejects(never.waitUntilFinished(events, 60_000), /as asked/);
    assert.equal((await queue.getFailed())[0].failedReason, "as asked");
    assert.equal(await never.getState(), "failed");
    const short = await queue.add("later", {}, { attempts: 1 });
    await assert.rejects(short.waitUntilFinished(events, 60_000), /not yet/);
  });
}

async function delays_and_priorities() {
  const order = [];
  const queue = new Queue("order", { connection });
  await queue.add("low", {}, { priority: 10 });
  const delayed = await queue.add("delayed", {}, { delay: 300 });
  await queue.add("high", {}, { priority: 1 });
  await queue.add("first", {});
  await queue.add("front", {}, { lifo: true });
  await queue.add("same", {}, { jobId: "one" });
  await queue.add("same", {}, { jobId: "one" });
  await withQueue("order", async (job) => order.push(job.name) && Date.now(), {}, () => eventually("six jobs", () => order.length === 6));
  assert.deepEqual(order.filter((name) => name !== "delayed"), ["front", "first", "same", "high", "low"]);
  assert((await queue.getJob(delayed.id)).returnvalue >= delayed.timestamp + 300, "not before its time");
  await queue.close();
}

async function a_job_that_puts_itself_off() {
  const work = async (job, token) => {
    if (job.data.again) return "done";
    await job.updateData({ again: true });
    await job.moveToDelayed(Date.now() + 30, token);
    throw new DelayedError();
  };
  await withQueue("later", work, {}, async (queue, events) => {
    assert.equal(await (await queue.add("x", {})).waitUntilFinished(events, 60_000), "done");
  });
}

async function parents_and_children() {
  const work = async (job) => (job.name === "parent" ? Object.values(await job.getChildrenValues()).sort() : job.data.n * 2);
  const flow = new FlowProducer({ connection });
  await withQueue("family", work, { concurrency: 2 }, async (queue, events) => {
    const { job } = await flow.add({
      name: "parent",
      queueName: "family",
      children: [1, 2, 3].map((n) => ({ name: "child", queueName: "family", data: { n } })),
    });
    assert.deepEqual(await job.waitUntilFinished(events, 60_000), [2, 4, 6]);
  });
  await flow.close();
}

async function a_limit_of_rate() {
  const times = [];
  await withQueue("limited", async () => times.push(Date.now()), { limiter: { max: 2, duration: 300 }, concurrency: 5 }, async (queue) => {
    await queue.addBulk(Array.from({ length: 6 }, () => ({ name: "x", data: {} })));
    await eventually("six jobs", () => times.length === 6);
    assert(times[5] - times[0] >= 550, `six jobs, two in 300 ms, took ${times[5] - times[0]} ms`);
  });
}

async function repeated_jobs() {
  let times = 0;
  await withQueue("ticks", async () => ++times, {}, async (queue) => {
    await queue.upsertJobScheduler("tick", { every: 100 }, { name: "tick" });
    await eventually("three ticks", () => times >= 3);
    assert.equal((await queue.getJobSchedulers()).length, 1);
    assert.equal(await queue.removeJobScheduler("tick"), true);
  });
}

async function pause_and_stalled_jobs() {
  const done = [];
  const queue = new Queue("stops", { connection });
  await queue.pause();
  await queue.add("x", {});
  // A worker that takes the job and is gone: after its lock has run out, another one gets it.
  await queue.resume();
  const lost = new Worker("stops", null, { connection, lockDuration: 300, autorun: false });
  lost.on("error", () => {});
  assert.equal((await lost.getNextJob("token")).name, "x");
  await lost.close(true);
  await withQueue("stops", async (job) => done.push(job.name), { stalledInterval: 200, lockDuration: 300 }, () =>
    eventually("the job of the lost worker", () => done.length === 1),
  );
  await queue.close();
}

async function goes_on_after_a_restart() {
  let done = 0;
  await withQueue("steady", async () => (await sleep(5), ++done), {}, async (queue) => {
    await queue.addBulk(Array.from({ length: 20 }, () => ({ name: "x", data: {} })));
    await eventually("work has begun", () => done > 0);
    await restart();
    await queue.add("x", {});
    await eventually("all are done", () => done >= 21);
    await eventually("none is left", async () => Object.values(await queue.getJobCounts("waiting", "active", "delayed")).every((n) => n === 0));
  });
}

await run([
  jobs_and_results, retries_and_failures, delays_and_priorities, a_job_that_puts_itself_off, parents_and_children,
  a_limit_of_rate, repeated_jobs, pause_and_stalled_jobs, goes_on_after_a_restart,
]);
