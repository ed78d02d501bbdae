// ioredis: what a service that uses it does.

import assert from "node:assert/strict";
import Redis from "ioredis";
import { eventually, host, password, port, restart, run, tls, username } from "./surroundings.mjs";

const connect = (more = {}) => new Redis({ host, port, tls, username, password, ...more });
const redis = connect();
redis.on("error", () => {}); // the restart below is no surprise

async function strings_and_binary() {
  assert.equal(await redis.set("greeting", "hello", "EX", 100), "OK");
  assert.equal(await redis.get("greeting"), "hello");
  assert.equal(await redis.set("greeting", "no", "NX"), null);
  assert.deepEqual(await redis.mget("greeting", "nothing"), ["hello", null]);
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256));
  await redis.set("bytes", bytes);
  assert(bytes.equals(await redis.getBuffer("bytes")));
  assert.equal(await redis.incrbyfloat("float", "0.1"), "0.1");
  await assert.rejects(redis.incr("greeting"), /not an integer/);
}

async function types() {
  assert.equal(await redis.hset("user", { name: "Ann", age: 33 }), 2);
  assert.deepEqual(await redis.hgetall("user"), { name: "Ann", age: "33" });
  assert.equal(await redis.zadd("board", 1, "a", 2.5, "b"), 2);
  assert.deepEqual(await redis.zrange("board", 0, -1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
  assert.equal(await redis.sadd("tags", ["x", "y", "x"]), 2);
  assert.equal(await redis.geoadd("places", 13.4, 52.5, "Berlin", 2.35, 48.85, "Paris"), 2);
  assert(Math.abs((await redis.geodist("places", "Berlin", "Paris", "km")) - 878) < 5);
  await redis.pfadd("seen", "a", "b", "c");
  assert.equal(await redis.pfcount("seen"), 3);
  assert.equal(await redis.setbit("bits", 7, 1), 0);
  assert.equal(await redis.bitcount("bits"), 1);
}

async function pipelines() {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 2000; i++) pipeline.set(`p:${i}`, i);
  pipeline.lpush("greeting", "x").get("p:1999");
  const results = await pipeline.exec();
  assert.equal(results.length, 2002);
  assert.match(results[2000][0].message, /^WRONGTYPE/);
  assert.deepEqual(results[2001], [null, "1999"]);
  const auto = connect({ enableAutoPipelining: true });
  assert.deepEqual(await Promise.all(Array.from({ length: 500 }, (_, i) => auto.get(`p:${i}`))), Array.from({ length: 500 }, (_, i) => `${i}`));
  auto.disconnect();
}

async function transactions() {
  assert.deepEqual(await redis.multi().set("n", 1).incr("n").exec(), [[null, "OK"], [null, 2]]);
  const other = connect();
  await redis.watch("n");
  await other.set("n", 10);
  assert.equal(await redis.multi().set("n", 11).exec(), null);
  await redis.watch("n");
  assert.deepEqual(await redis.multi().incr("n").exec(), [[null, 11]]);
  await assert.rejects(redis.multi().set("n").exec(), /EXECABORT|wrong number/);
  other.disconnect();
}

async function scans() {
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "p:*", count: 200 })) keys.forEach((k) => found.add(k));
  assert.equal(found.size, 2000);
  for (let i = 0; i < 600; i++) await redis.hset("wide", `f${i}`, i);
  let fields = 0;
  for await (const pairs of redis.hscanStream("wide", { count: 50 })) fields += pairs.length / 2;
  assert.equal(fields, 600);
}

async function publish_and_subscribe() {
  const listener = connect();
  const heard = [];
  listener.on("message", (channel, text) => heard.push([channel, text]));
  listener.on("pmessage", (pattern, channel, text) => heard.push([pattern, channel, text]));
  assert.equal(await listener.subscribe("news", "weather"), 2);
  assert.equal(await listener.psubscribe("n?ws"), 3);
  assert.equal(await redis.publish("news", "one"), 2);
  await redis.publish("weather", "two");
  await eventually("three messages", () => heard.length === 3);
  assert.deepEqual(heard.map((m) => m.join()).sort(), ["n?ws,news,one", "news,one", "weather,two"]);
  await listener.unsubscribe("news", "weather");
  await listener.punsubscribe("n?ws");
  assert.equal(await listener.get("greeting"), "hello");
  listener.disconnect();
}

async function blocking() {
  const waiter = connect();
  const popped = waiter.blpop("queue", "other", 20);
  await eventually("somebody waits", async () => /^blocked_clients:[1-9]/m.test(await redis.info("clients")));
  await redis.rpush("queue", "job");
  assert.deepEqual(await popped, ["queue", "job"]);
  assert.equal(await waiter.brpop("queue", 0.05), null);
  await redis.rpush("from", "a");
  assert.equal(await waiter.blmove("from", "to", "LEFT", "RIGHT", 1), "a");
  assert.deepEqual(await waiter.bzpopmin("board", 1), ["board", "a", "1"]);
  waiter.disconnect();
}

async function streams() {
  await redis.xgroup("CREATE", "log", "readers", "$", "MKSTREAM");
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push(await redis.xadd("log", "MAXLEN", "~", 1000, "*", "i", i));
  const [[name, entries]] = await redis.xreadgroup("GROUP", "readers", "one", "COUNT", 3, "STREAMS", "log", ">");
  assert.equal(name, "log");
  assert.deepEqual(entries.map((e) => e[0]), ids.slice(0, 3));
  assert.equal(await redis.xack("log", "readers", ids[0]), 1);
  assert.equal((await redis.xpending("log", "readers"))[0], 2);
  const [, claimed] = await redis.xautoclaim("log", "readers", "two", 0, "0");
  assert.deepEqual(claimed.map((e) => e[1]), [["i", "1"], ["i", "2"]]);
  const blocked = connect();
  const next = blocked.xread("BLOCK", 20_000, "STREAMS", "log", "$");
  await eventually("somebody waits", async () => /^blocked_clients:[1-9]/m.test(await redis.info("clients")));
  await redis.xadd("log", "*", "last", "1");
  assert.deepEqual((await next)[0][1][0][1], ["last", "1"]);
  blocked.disconnect();
}

async function databases_and_info() {
  const three = connect({ db: 3 });
  await three.set("only", "here");
  assert.equal(await redis.exists("only"), 0);
  await three.flushdb();
  three.disconnect();
  assert.match(await redis.info(), /redis_version:7\.\d+\.\d+/);
  assert.equal(await redis.client("SETNAME", "ioredis"), "OK");
  assert.match(await redis.client("LIST"), /name=ioredis/);
}

async function reconnects_after_a_restart() {
  const listener = connect({ retryStrategy: () => 20 });
  listener.on("error", () => {});
  const heard = [];
  listener.on("message", (_, text) => heard.push(text));
  await listener.subscribe("after");
  await restart();
  // Queued while there is no connection, sent when there is one again.
  assert.equal(await redis.get("greeting"), "hello");
  await eventually("the subscription is made again", async () => (await redis.publish("after", "x")) === 1);
  await eventually("a message after the restart", () => heard.length > 0);
  listener.disconnect();
}

await redis.flushall();
await run([
  strings_and_binary, types, pipelines, transactions, scans, publish_and_subscribe, blocking, streams,
  databases_and_info, reconnects_after_a_restart,
]);
