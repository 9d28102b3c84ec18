/**
 * Deliveries that forges send at once: signed as GitHub signs, over HTTP, to a whole server on a real PostgreSQL. What was answered
 * with 202 has to be there afterwards, and to be handled.
 */
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { addWebhook } from "@kws/api/webhooks";
import { testServer } from "@kws/server/testing/server";
import { type Measurement, summarize } from "./measure.ts";

const perSecond = 200;
const seconds = 10;
const together = 32;

export async function measure(): Promise<Measurement[]> {
  await using server = await testServer();
  const scope = "https://git.example.com/acme/*";
  const body = { name: "bench", forge: "github", scope } as const;
  const { path, secret } = await server.client.call(addWebhook, { body });
  const agent = new Agent({ keepAlive: true, maxSockets: together });
  const url = `${server.url}${path}`;
  const fixture = new URL("../packages/server/src/webhooks/in/testdata/github/push.json", import.meta.url);
  const template = JSON.parse(await readFile(fixture, "utf8")) as object;
  let count = 0;
  let accepted = 0;

  async function deliver(): Promise<number> {
    const body = JSON.stringify({ ...template, delivery: count++ });
    const signature = createHmac("sha256", secret).update(body).digest("hex");
    const started = performance.now();
    if ((await post(url, body, signature, agent)) === 202) accepted++;
    return performance.now() - started;
  }

  // Begun at its time whether or not those before it are answered: forges do not wait for each other.
  const begin = performance.now();
  const offered: Promise<number>[] = [];
  for (let index = 0; index < perSecond * seconds; index++) {
    await pause(Math.max(0, begin + (index * 1000) / perSecond - performance.now()));
    offered.push(deliver());
  }
  const answered = await Promise.all(offered);

  const full = performance.now();
  const before = accepted;
  const worker = async () => {
    while (performance.now() - full < 5000) await deliver();
  };
  await Promise.all(Array.from({ length: together }, worker));
  const most = ((accepted - before) * 1000) / (performance.now() - full);

  const counted = async () =>
    server.db
      .selectFrom("webhook_deliveries")
      .select(({ fn }) => [fn.countAll<string>().as("kept"), fn.count<string>("handled_at").as("handled")])
      .executeTakeFirstOrThrow();
  const { kept } = await counted();
  while ((await counted()).handled !== kept) await pause(100);
  const handled = (performance.now() - begin) / 1000;
  agent.destroy();
  return [
    summarize(`webhook accepted, at ${perSecond} a second`, "ms", answered),
    summarize("webhooks accepted", "per second", [most], { atLeast: perSecond }),
    summarize("webhooks handled", "per second", [Number(kept) / handled]),
    summarize("webhooks sent ÷ kept", "ratio", [count / Number(kept)], { atMost: 1 }),
  ];
}

async function post(url: string, body: string, signature: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "x-github-event": "push",
      "x-hub-signature-256": `sha256=${signature}`,
    };
    const sent = request(url, { method: "POST", agent, headers }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    });
    sent.once("error", reject).end(body);
  });
}
