// Where the server is, as the test that starts a program of this directory tells it in the environment, and the words
// that they exchange. A program exits with 0 when all it checked held; what it checked, it prints.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const env = process.env;

/** Where and as whom to connect. `username` and `password` are undefined where the server asks for none. */
export const host = env.FERRITE_HOST;
export const port = Number(env.FERRITE_PORT);
export const username = env.FERRITE_USER;
export const password = env.FERRITE_PASSWORD;

/** Node's TLS options: the authority to trust, and a certificate of our own where the server asks for one. */
export const tls = {
  ca: readFileSync(env.FERRITE_CA),
  ...(env.FERRITE_CERT && { cert: readFileSync(env.FERRITE_CERT), key: readFileSync(env.FERRITE_KEY) }),
};

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Says that something held. */
export const did = (what) => console.log(`  ${what}`);

/** Waits until `check` gives something true, and gives that. */
export async function eventually(what, check) {
  for (const end = Date.now() + 60_000; ; ) {
    const found = await check();
    if (found) return found;
    assert(Date.now() < end, `${what}: did not happen in a minute`);
    await sleep(20);
  }
}

/** Has the server stopped and started again. */
export async function restart() {
  const lines = createInterface({ input: process.stdin });
  console.log("@restart");
  await new Promise((done) => lines.once("line", done));
  lines.close();
  process.stdin.unref?.();
}

/** Runs the program: every step has to hold, and nothing may go on after the last one. */
export async function run(steps) {
  try {
    for (const step of steps) {
      await step();
      did(step.name);
    }
  } catch (why) {
    console.error(why);
    process.exit(1);
  }
  process.exit(0);
}
