// node-redis (the package `redis`): what a service that uses it does, in RESP2 and RESP3.

import assert from "node:assert/strict";
import { createClient, createClientPool, BasicClientSideCache, RESP_TYPES, WatchError } from "redis";
import { eventually, host, password, port, restart, run, tls, username } from "./surroundings.mjs";

const options = (more) => ({
  socket: { host, port, tls: true, ...tls, reconnectStrategy: () => 20 },
  username,
  password,
  ...more,
});

async function connect(more = {}) {
  const client = createClient(options(more));
  client.on("error", () => {}); // the restart below is no surprise
  return client.connect();
}

async function values(redis) {
  assert.equal(await redis.set("greeting", "hello", { expiration: { type: "EX", value: 100 } }), "OK");
  assert.equal(await redis.get("greeting"), "hello");
  const ttl = await redis.ttl("greeting");
  assert(ttl > 90 && ttl <= 100);
  assert.equal(await redis.set("greeting", "no", { condition: "NX" }), null);
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256));
  await redis.set("bytes", bytes);
  assert(bytes.equals(await redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get("bytes")));
  await redis.hSet("user", { name: "Ann", age: "33" });
  assert.deepEqual({ ...(await redis.hGetAll("user")) }, { name: "Ann", age: "33" });
  await redis.zAdd("board", [{ score: 1, value: "a" }, { score: 2.5, value: "b" }]);
  assert.deepEqual(await redis.zRangeWithScores("board", 0, -1), [{ value: "a", score: 1 }, { value: "b", score: 2.5 }]);
  assert.equal(await redis.zScore("board", "b"), 2.5);
  await redis.sAdd("tags", ["x", "y"]);
  assert.deepEqual([...(await redis.sMembers("tags"))].sort(), ["x", "y"]);
  assert.deepEqual([...(await redis.smIsMember("tags", ["x", "z"]))].map(Boolean), [true, false]);
  await redis.geoAdd("places", [{ longitude: 13.4, latitude: 52.5, member: "Berlin" }]);
  const [near] = await redis.geoSearchWith("places", { longitude: 13, latitude: 52 }, { radius: 100, unit: "km" }, ["WITHDIST"]);
  assert.equal(near.member, "Berlin");
  await assert.rejects(redis.incr("greeting"), /not an integer/);
}

async function transactions(redis) {
  assert.deepEqual(await redis.multi().set("n", 1).incr("n").get("n").exec(), ["OK", 2, "2"]);
  // A transaction with WATCH has its own connection in a pool.
  const pool = await createClientPool(options(), { minimum: 1, maximum: 4 }).connect();
  await assert.rejects(
    pool.execute(async (c) => {
      await c.watch("n");
      await redis.set("n", 10);
      return c.multi().set("n", 11).exec();
    }),
    WatchError,
  );
  await Promise.all(Array.from({ length: 50 }, () => pool.incr("n")));
  assert.equal(await redis.get("n"), "60");
  pool.destroy();
}

async function scans(redis) {
  await Promise.all(Array.from({ length: 1500 }, (_, i) => redis.set(`p:${i}`, i)));
  const found = new Set();
  for await (const keys of redis.scanIterator({ MATCH: "p:*", COUNT: 100 })) keys.forEach((k) => found.add(k));
  assert.equal(found.size, 1500);
  await redis.zAdd("wide", Array.from({ length: 500 }, (_, i) => ({ score: i, value: `m${i}` })));
  let members = 0;
  for await (const page of redis.zScanIterator("wide")) members += page.length;
  assert.equal(members, 500);
}

async function publish_and_subscribe(redis) {
  const listener = await redis.duplicate().connect();
  const heard = [];
  await listener.subscribe("news", (text, channel) => heard.push(`${channel} ${text}`));
  await listener.pSubscribe("n*", (text, channel) => heard.push(`n* ${channel} ${text}`));
  await listener.sSubscribe("part", (text) => heard.push(`part ${text}`));
  assert.equal(await redis.publish("news", "one"), 2);
  assert.equal(await redis.sPublish("part", "two"), 1);
  await eventually("three messages", () => heard.length === 3);
  assert.deepEqual(heard.sort(), ["n* news one", "news one", "part two"]);
  assert.deepEqual(await redis.pubSubNumSub(["news"]).then((n) => ({ ...n })), { news: 1 });
  await listener.unsubscribe();
  listener.destroy();
}

async function blocking(redis) {
  const waiter = await redis.duplicate().connect();
  const popped = waiter.blPop(["queue", "other"], 20);
  await eventually("somebody waits", async () => /^blocked_clients:[1-9]/m.test(await redis.info("clients")));
  await redis.rPush("queue", "job");
  assert.deepEqual({ ...(await popped) }, { key: "queue", element: "job" });
  assert.equal(await waiter.blPop("queue", 0.05), null);
  waiter.destroy();
}

async function streams(redis) {
  await redis.xGroupCreate("log", "readers", "$", { MKSTREAM: true });
  for (let i = 0; i < 5; i++) await redis.xAdd("log", "*", { i: `${i}` });
  const [{ name, messages }] = await redis.xReadGroup("readers", "one", { key: "log", id: ">" }, { COUNT: 3 });
  assert.equal(name, "log");
  assert.deepEqual(messages.map((m) => m.message.i), ["0", "1", "2"]);
  assert.equal(await redis.xAck("log", "readers", messages[0].id), 1);
  assert.equal((await redis.xPending("log", "readers")).pending, 2);
  assert.equal((await redis.xInfoStream("log")).length, 5);
  assert.equal((await redis.xInfoGroups("log"))[0].lag, 2);
}

async function the_server(redis) {
  assert.match(await redis.info("server"), /redis_version:7/);
  await redis.clientSetName("node-redis");
  assert((await redis.clientList()).some((c) => c.name === "node-redis"));
  assert.equal((await redis.configGet("maxclients")).maxclients, "10000");
  assert((await redis.commandCount()) > 200);
  assert.equal((await redis.commandInfo(["get"]))[0].arity, 2);
  assert.equal(await redis.memoryUsage("greeting") > 0, true);
}

async function with_resp2() {
  const redis = await connect({ RESP: 2 });
  await redis.flushAll();
  for (const step of [values, transactions, scans, publish_and_subscribe, blocking, streams, the_server]) await step(redis);
  redis.destroy();
}

async function with_resp3() {
  const redis = await connect({ RESP: 3 });
  await redis.flushAll();
  for (const step of [values, transactions, scans, publish_and_subscribe, blocking, streams, the_server]) await step(redis);
  redis.destroy();
}

async function client_side_caching() {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100 });
  const redis = await connect({ RESP: 3, clientSideCache: cache });
  const other = await connect();
  await other.set("cached", "old");
  for (let i = 0; i < 10; i++) assert.equal(await redis.get("cached"), "old");
  assert(cache.stats().hitCount >= 9, "answered from the cache");
  await other.set("cached", "new");
  await eventually("the server tells that the key changed", async () => (await redis.get("cached")) === "new");
  redis.destroy();
  other.destroy();
}

async function reconnects_after_a_restart() {
  const redis = await connect();
  const listener = await connect();
  const heard = [];
  await listener.subscribe("after", (text) => heard.push(text));
  await redis.set("kept", "yes");
  await restart();
  await eventually("it is there again", () => redis.get("kept").then((v) => v === "yes", () => false));
  await eventually("the subscription is made again", async () => (await redis.publish("after", "x")) === 1);
  await eventually("a message after the restart", () => heard.length > 0);
  redis.destroy();
  listener.destroy();
}

await run([with_resp2, with_resp3, client_side_caching, reconnects_after_a_restart]);
