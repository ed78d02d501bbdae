// valkey-glide: a client whose core is written in Rust, with its own idea of TLS, batches and reconnecting.

import assert from "node:assert/strict";
import { Batch, Decoder, GlideClient, Logger, ProtocolVersion, TimeUnit } from "@valkey/valkey-glide";
import { eventually, host, password, port, restart, run, tls, username } from "./surroundings.mjs";

Logger.init("off"); // errors are looked at below

const options = {
  addresses: [{ host, port }],
  useTLS: true,
  credentials: password && { username, password },
  requestTimeout: 30_000,
  connectionBackoff: { numberOfRetries: 10, factor: 20, exponentBase: 1 },
  advancedConfiguration: {
    connectionTimeout: 30_000,
    tlsAdvancedConfiguration: {
      rootCertificates: tls.ca,
      ...(tls.cert && { clientCertificate: tls.cert, clientKey: tls.key }),
    },
  },
};
const connect = (more) => GlideClient.createClient({ ...options, ...more });

async function values(redis) {
  assert.equal(await redis.set("greeting", "hello", { expiry: { type: TimeUnit.Seconds, count: 100 } }), "OK");
  assert.equal(await redis.get("greeting"), "hello");
  assert.equal(await redis.get("nothing"), null);
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256));
  await redis.set("bytes", bytes);
  assert(bytes.equals(await redis.get("bytes", { decoder: Decoder.Bytes })));
  assert.equal(await redis.hset("user", { name: "Ann", age: "33" }), 2);
  assert.deepEqual((await redis.hgetall("user")).map((f) => `${f.field}=${f.value}`).sort(), ["age=33", "name=Ann"]);
  assert.equal(await redis.zadd("board", { a: 1, b: 2.5 }), 2);
  assert.equal(await redis.zscore("board", "b"), 2.5);
  await assert.rejects(redis.incr("greeting"), /not an integer/);
}

async function batches(redis) {
  const transaction = new Batch(true).set("n", "1").incr("n").get("n");
  assert.deepEqual(await redis.exec(transaction, true), ["OK", 2, "2"]);
  const pipeline = new Batch(false);
  for (let i = 0; i < 1000; i++) pipeline.set(`p:${i}`, `${i}`);
  assert.equal((await redis.exec(pipeline, true)).length, 1000);
  let cursor = "0";
  const found = new Set();
  do {
    const [next, keys] = await redis.scan(cursor, { match: "p:*", count: 100 });
    keys.forEach((k) => found.add(k));
    cursor = next;
  } while (cursor !== "0");
  assert.equal(found.size, 1000);
  await redis.watch(["n"]);
  const other = await connect();
  await other.set("n", "10");
  assert.equal(await redis.exec(new Batch(true).set("n", "11"), true), null);
  other.close();
}

async function streams_and_blocking(redis) {
  await redis.xgroupCreate("log", "readers", "0", { mkStream: true });
  const id = await redis.xadd("log", [["i", "1"]]);
  const [{ value }] = await redis.xreadgroup("readers", "one", { log: ">" });
  assert.deepEqual(value[id], [["i", "1"]]);
  assert.equal(await redis.xack("log", "readers", [id]), 1);
  const waiter = await connect();
  const popped = waiter.blpop(["queue"], 20);
  await eventually("somebody waits", async () => /^blocked_clients:[1-9]/m.test(await redis.info(["clients"])));
  await redis.rpush("queue", ["job"]);
  assert.deepEqual(await popped, ["queue", "job"]);
  waiter.close();
}

async function publish_and_subscribe(redis) {
  const listener = await connect({
    pubsubSubscriptions: { channelsAndPatterns: { 0: new Set(["news"]), 1: new Set(["n*"]) } },
  });
  assert.equal(await redis.publish("one", "news"), 2);
  const heard = [await listener.getPubSubMessage(), await listener.getPubSubMessage()];
  assert.deepEqual(heard.map((m) => m.message), ["one", "one"]);
  listener.close();
}

async function in_resp2_and_resp3() {
  for (const protocol of [ProtocolVersion.RESP2, ProtocolVersion.RESP3]) {
    const redis = await connect({ protocol, clientName: "glide" });
    await redis.flushall();
    assert.equal(await redis.clientGetName(), "glide");
    for (const step of [values, batches, streams_and_blocking]) await step(redis);
    // Its subscriptions speak RESP3 only.
    if (protocol === ProtocolVersion.RESP3) await publish_and_subscribe(redis);
    redis.close();
  }
}

async function reconnects_after_a_restart() {
  const redis = await connect();
  await redis.set("kept", "yes");
  await restart();
  await eventually("it is there again", () => redis.get("kept").then((v) => v === "yes", () => false));
  redis.close();
}

await run([in_resp2_and_resp3, reconnects_after_a_restart]);
