// rate-limiter-flexible, on ioredis and on node-redis: counting in Lua.

import assert from "node:assert/strict";
import Redis from "ioredis";
import { BurstyRateLimiter, RateLimiterQueue, RateLimiterRedis } from "rate-limiter-flexible";
import { createClient } from "redis";
import { eventually, host, password, port, run, tls, username } from "./surroundings.mjs";

const io = new Redis({ host, port, tls, username, password });
const node = await createClient({ socket: { host, port, tls: true, ...tls }, username, password }).connect();
await io.flushall();
const clients = { ioredis: { storeClient: io }, "node-redis": { storeClient: node, useRedisPackage: true } };

async function so_many_and_no_more() {
  for (const [name, client] of Object.entries(clients)) {
    const limiter = new RateLimiterRedis({ ...client, keyPrefix: name, points: 5, duration: 100, blockDuration: 100 });
    for (let left = 4; left >= 0; left--) assert.equal((await limiter.consume("ann")).remainingPoints, left);
    const no = await limiter.consume("ann").then(() => assert.fail("a sixth"), (why) => why);
    assert(no.msBeforeNext > 90_000 && no.msBeforeNext <= 100_000, `${no.msBeforeNext}`);
    assert.equal((await limiter.consume("bob", 2)).remainingPoints, 3);
    assert.equal((await limiter.get("bob")).consumedPoints, 2);
    await limiter.reward("bob", 1);
    assert.equal((await limiter.get("bob")).consumedPoints, 1);
    assert.equal(await limiter.delete("ann"), true);
    assert.equal((await limiter.consume("ann")).remainingPoints, 4);
  }
}

async function all_at_once() {
  for (const [name, client] of Object.entries(clients)) {
    const limiter = new RateLimiterRedis({ ...client, keyPrefix: `${name}-crowd`, points: 20, duration: 100 });
    const outcome = await Promise.allSettled(Array.from({ length: 100 }, () => limiter.consume("all")));
    assert.equal(outcome.filter((o) => o.status === "fulfilled").length, 20);
  }
}

async function again_after_a_while() {
  const limiter = new RateLimiterRedis({ storeClient: io, keyPrefix: "brief", points: 1, duration: 1 });
  await limiter.consume("x");
  await assert.rejects(limiter.consume("x"), (why) => why.msBeforeNext <= 1000);
  await eventually("it may again", () => limiter.consume("x").then(() => true, () => false));
  const bursty = new BurstyRateLimiter(
    new RateLimiterRedis({ storeClient: io, keyPrefix: "steady", points: 1, duration: 100 }),
    new RateLimiterRedis({ storeClient: io, keyPrefix: "burst", points: 3, duration: 100 }),
  );
  for (let i = 0; i < 4; i++) await bursty.consume("x");
  await assert.rejects(bursty.consume("x"), (why) => why.msBeforeNext > 0);
  const line = new RateLimiterQueue(new RateLimiterRedis({ storeClient: io, keyPrefix: "line", points: 2, duration: 1 }));
  const began = Date.now();
  await Promise.all(Array.from({ length: 4 }, () => line.removeTokens(1, "x")));
  assert(Date.now() - began >= 500);
}

await run([so_many_and_no_more, all_at_once, again_after_a_while]);
