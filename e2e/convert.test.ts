/** A Compose project, converted and started. */
import { once } from "node:events";
import { cp, readFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, repository, type Kws } from "./kws.ts";

let kws: Kws;
let folder: string;
beforeAll(async () => {
  kws = await newKws();
  folder = join(kws.home, "guests");
  await cp(join(repository, "examples/compose"), folder, { recursive: true });
});
afterAll(() => kws[Symbol.asyncDispose]());

interface Converted {
  services: string[];
  files: string[];
  findings: { severity: string; key: string }[];
}

async function convert(...args: string[]): Promise<{ code: number; converted: Converted }> {
  const { code, stdout, stderr } = await kws.run(["convert", "compose", ...args, "-o", "json"], {
    cwd: folder,
  });
  if (stdout === "") throw new Error(stderr);
  return { code, converted: JSON.parse(stdout) as Converted };
}

test("without a key, secrets are told and not written", async () => {
  const { code, converted } = await convert("-o", "elsewhere", "--dry-run");
  expect(code).toBe(3);
  expect(converted.files.filter((path) => path.endsWith("secrets.yaml"))).toEqual([]);
  const keys = converted.findings.filter(({ severity }) => severity === "error").map(({ key }) => key);
  expect(new Set(keys)).toEqual(new Set(["services.guest_api.env_file", "secrets.store_password"]));
});

test("a Compose project works as a stack: names, files, secrets, volumes, and what has to complete first", async () => {
  await kws.run(["secrets", "keygen"]);
  const { code, converted } = await convert();
  expect(code).toBe(0);
  expect(converted.services.toSorted()).toEqual(["first-entry", "guest-api", "store", "web"]);
  const left = converted.findings.filter(({ severity }) => severity === "warning").map(({ key }) => key);
  expect(left).toEqual(["services.store.ulimits"]);
  for (const path of converted.files)
    expect(await readFile(path, "latin1"), path).not.toMatch(/example-(password|token)/);
  const again = await kws.run(["convert", "compose"], { cwd: folder });
  expect(again.code, again.stderr).toBe(9);

  const started = await kws.run(["stack", "start", "-o", "json"], { cwd: folder });
  expect(started.code, started.stderr).toBe(0);
  const { ingressPort } = await kws.cluster();
  const asked = get({ host: "127.0.0.1", port: ingressPort, headers: { host: "web.guests.localhost" } });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  expect(await text(answer)).toBe("Welcome to {{ everybody }}, administered by somebody: the first guest\n");
});
