/** A credential is rotated while its clients work, whatever interrupts it: at every step an order is placed and paid. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { secrets } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, type Kws, type Result } from "./kws.ts";
import { liveShop, type LiveShop } from "./live-shop.ts";

interface Standing {
  underWay: boolean;
  next: string;
  parties: { service: string; values: string[]; committed: boolean; deployed: string[] }[];
}

let kws: Kws;
let shop: LiveShop;

beforeAll(async () => {
  kws = await newKws();
  shop = await liveShop(kws);
  const { code, stderr } = await kws.run(["stack", "start", "live"], { cwd: shop.folder });
  expect(code, stderr).toBe(0);
});
afterAll(() => kws[Symbol.asyncDispose]());

const words = (step: string) => ["secrets", "rollout", step, "payments/token", "-p", "live"];

/** With a value, that one is given on standard input. */
async function rollout(step: string, value?: string): Promise<Result> {
  const stdin = value === undefined ? {} : { input: `${value}\n` };
  const args = [...words(step), ...(value === undefined ? [] : ["--stdin"]), "--log-level", "debug"];
  const result = await kws.run(args, { cwd: shop.folder, ...stdin });
  expect(result.stdout + result.stderr).not.toContain("sotto-voce");
  return result;
}

async function succeeds(step: string, value?: string): Promise<void> {
  const { code, stderr } = await rollout(step, value);
  expect(code, stderr).toBe(0);
  await placeOrder();
}

async function standing(): Promise<Standing> {
  const { stdout } = await kws.run([...words("status"), "-o", "json"], { cwd: shop.folder });
  return JSON.parse(stdout) as Standing;
}

/** What payments and orders are deployed with. */
async function deployed(): Promise<string[]> {
  return (await standing()).parties.map((party) => party.deployed.join("+"));
}

async function fetchInside(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<string> {
  const request = JSON.stringify({ method: "POST", headers, body: JSON.stringify(body) });
  const script = `fetch(${JSON.stringify(url)}, ${request}).then((answer) => console.log(answer.status))`;
  const ask = ["service", "exec", "catalog", "--stack", "live", "--", "node", "-e", script];
  return (await kws.run(ask, { cwd: shop.folder })).stdout.trim();
}

async function placeOrder(): Promise<void> {
  const order = { email: "a@example.com", items: [{ productId: "cup", quantity: 1 }] };
  expect(await fetchInside("http://orders/orders", order)).toBe("201");
}

/** Whether payments takes the value that a revision of the clone says orders sends. */
async function isAccepted(revision: string): Promise<boolean> {
  const file = "orders/chart/profiles/live/secrets.yaml";
  await writeFile(join(kws.home, "old.yaml"), shop.git("show", `${revision}:${file}`));
  const read = ["secrets", "decrypt", join(kws.home, "old.yaml"), "--extract", "secrets.PAYMENTS_TOKEN"];
  const token = (await kws.run(read)).stdout.trim();
  const charge = { orderId: revision, amountCents: 1 };
  const status = await fetchInside("http://payments/charges", charge, { authorization: `Bearer ${token}` });
  expect(["201", "401"]).toContain(status);
  return status === "201";
}

test("the provider accepts a new value, its client moves, the old one is refused, and nothing shows either", async () => {
  await placeOrder();
  const before = shop.git("rev-parse", "HEAD").trim();
  await succeeds("start");
  expect(await deployed()).toEqual(["old+new", "old"]);
  expect(await isAccepted(before)).toBe(true);
  await succeeds("next");
  expect(await deployed()).toEqual(["old+new", "new"]);
  expect(await isAccepted("HEAD")).toBe(true);
  await succeeds("next");
  expect(await standing()).toMatchObject({ underWay: false, next: "" });
  expect([await isAccepted(before), await isAccepted("HEAD")]).toEqual([false, true]);
  expect((await rollout("next")).code).toBe(9);
  const { stdout } = await kws.run(["service", "status", "orders", "--stack", "live", "-o", "json"]);
  expect(stdout).toContain("Rotate payments/token: orders sends the new value");
});

/** Starts a step and kills it as soon as the condition is met; false where it ended before. */
async function killWhen(step: string, condition: () => Promise<boolean>): Promise<boolean> {
  const child = kws.spawn(words(step), shop.folder);
  const exited = once(child, "exit");
  while (child.exitCode === null && !(await condition()));
  const killed = child.exitCode === null;
  child.kill("SIGKILL");
  await exited;
  return killed;
}

/** What a step of the service leaves behind, one after the other. */
async function marks(service: string): Promise<(() => Promise<boolean>)[]> {
  const client = await kws.client();
  const file = () => readFile(shop.secrets(service), "utf8");
  const head = () => readFile(join(shop.folder, ".git/refs/heads/main"), "utf8");
  const revisions = async () => {
    const labelSelector = `owner=helm,name=${service}`;
    const { items } = await client.list(secrets, "live", { labelSelector });
    return items.map(({ metadata }) => metadata.name).join();
  };
  return Promise.all(
    [file, head, revisions].map(async (read) => {
      const before = await read();
      return async () => (await read()) !== before;
    }),
  );
}

test.each([
  ["start", "payments", ["old+new", "old"]],
  ["next", "orders", ["old+new", "new"]],
  ["next", "payments", ["current", "current"]],
])("%s of %s that is killed, wherever it is, goes on with the same command", async (step, service, goal) => {
  let kills = 0;
  for (const isReached of await marks(service)) {
    if (JSON.stringify(await deployed()) === JSON.stringify(goal)) break;
    if (await killWhen(step, isReached)) kills++;
    await placeOrder();
  }
  expect(kills).toBeGreaterThan(1);
  if (JSON.stringify(await deployed()) !== JSON.stringify(goal)) await succeeds(step);
  expect(await deployed()).toEqual(goal);
  expect(shop.git("status", "--porcelain")).toBe("");
});

test("an abort half way brings clients back first, and goes on where it is killed", async () => {
  const before = shop.git("rev-parse", "HEAD").trim();
  await succeeds("start");
  await succeeds("next");
  const moved = shop.git("rev-parse", "HEAD").trim();
  const [, , isDeployed = async () => true] = await marks("orders");
  expect(await killWhen("abort", isDeployed)).toBe(true);
  await placeOrder();
  await succeeds("abort");
  expect(await standing()).toMatchObject({ underWay: false });
  expect([await isAccepted(before), await isAccepted(moved)]).toEqual([true, false]);
});

test("a client that does not start with the new value leaves the rotation at its step, and the shop as it was", async () => {
  await succeeds("start", "sotto-voce-next");
  const values = join(shop.folder, "orders/chart/profiles/live/values.yaml");
  await writeFile(values, "config: { PORT: nonsense }\n");
  const dirty = await rollout("next");
  expect([dirty.code, dirty.stderr]).toEqual([9, expect.stringContaining("not committed")]);
  shop.git("add", "--all");
  shop.git("commit", "--quiet", "--message", "Break orders");
  const failed = await rollout("next");
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain("kws secrets rollout abort payments/token -p live");
  await placeOrder();
  expect(await standing()).toMatchObject({
    underWay: true,
    next: "deploy orders",
    parties: [
      { service: "payments", deployed: ["old", "new"] },
      { service: "orders", values: ["new"], committed: true, deployed: ["old"] },
    ],
  });
  shop.git("rm", "--quiet", values);
  shop.git("commit", "--quiet", "--message", "Mend orders");
  await succeeds("next");
  expect(await deployed()).toEqual(["old+new", "new"]);
});

test("no value is left in a file outside the cluster's own storage", () => {
  const words = ["-rl", "--exclude-dir=clusters", "sotto-voce", kws.home];
  const { status, stdout } = spawnSync("grep", words, { encoding: "utf8" });
  expect([status, stdout]).toEqual([1, ""]);
});
