// A web site on Express whose sessions lie in the server (express-session, connect-redis).

import assert from "node:assert/strict";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { eventually, host, password, port, run, tls, username } from "./surroundings.mjs";

const redis = await createClient({ socket: { host, port, tls: true, ...tls }, username, password }).connect();
await redis.flushAll();

const store = new RedisStore({ client: redis, prefix: "site:", ttl: 1000 });
const site = express();
site.use(session({ store, secret: "not so secret", resave: false, saveUninitialized: false, cookie: { maxAge: 500_000 } }));
site.get("/visit", (request, response) => {
  request.session.visits = (request.session.visits ?? 0) + 1;
  response.json(request.session.visits);
});
site.get("/leave", (request, response) => request.session.destroy(() => response.json("gone")));
const http = site.listen(0, "127.0.0.1");
await new Promise((done) => http.once("listening", done));

async function visit(path, cookie) {
  const answer = await fetch(`http://127.0.0.1:${http.address().port}${path}`, { headers: cookie ? { cookie } : {} });
  return [await answer.json(), answer.headers.get("set-cookie")?.split(";")[0]];
}

async function sessions_are_kept() {
  const [first, ann] = await visit("/visit");
  const [, bob] = await visit("/visit");
  assert.equal(first, 1);
  assert.notEqual(ann, bob);
  for (let i = 2; i < 30; i++) assert.equal((await visit("/visit", ann))[0], i);
  assert.equal((await visit("/visit", bob))[0], 2);
}

async function they_expire_and_can_be_listed() {
  const keys = await redis.keys("site:*");
  assert.equal(keys.length, 2);
  for (const key of keys) {
    const ttl = await redis.ttl(key);
    assert(ttl > 400 && ttl <= 500, `${ttl} s`);
  }
  assert.equal(await store.length(), 2);
  assert.deepEqual((await store.all()).map((s) => s.visits).sort(), [2, 29]);
}

async function they_end() {
  const [, cookie] = await visit("/visit");
  await visit("/leave", cookie);
  assert.equal((await visit("/visit", cookie))[0], 1);
  await store.clear();
  await eventually("no session is left", async () => (await redis.dbSize()) === 0);
}

await run([sessions_are_kept, they_expire_and_can_be_listed, they_end]);
