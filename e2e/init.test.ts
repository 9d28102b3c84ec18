/** `kws init` and what follows it, in a folder that holds nothing but programs. */
import { once } from "node:events";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, type Kws } from "./kws.ts";

let kws: Kws;
beforeAll(async () => {
  kws = await newKws();
});
afterAll(() => kws[Symbol.asyncDispose]());

test("services whose names YAML reads as other types are started under these names", async () => {
  const folder = await mkdtemp(join(kws.home, "workspace-"));
  const names = ["1e3", "2048", "null", "on", "y"];
  const program = "require('http').createServer((q, r) => r.end('hello')).listen(8080)";
  for (const name of names) {
    await mkdir(join(folder, name));
    await writeFile(
      join(folder, name, "Dockerfile"),
      `FROM kws.local/node:24\nEXPOSE 8080\nCMD ["node", "-e", "${program}"]\n`,
    );
  }
  const made = await kws.run(["init", "--name", "no", "--yes"], { cwd: folder });
  expect(made.code, made.stderr).toBe(0);
  const started = await kws.run(["stack", "start", "-o", "json"], { cwd: folder });
  expect(started.code, started.stderr).toBe(0);
  const { stack, services } = JSON.parse(started.stdout) as {
    stack: string;
    services: { service: string; state: string; address: string }[];
  };
  expect(stack).toBe("no");
  expect(services.map(({ service, state }) => [service, state])).toEqual(
    names.map((name) => [name, "ready"]),
  );
  const { ingressPort } = await kws.cluster();
  for (const { address } of services) {
    const { host } = new URL(address);
    const asked = get({ host: "127.0.0.1", port: ingressPort, headers: { host } });
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    expect(await text(answer)).toBe("hello");
  }
  const exec = await kws.run(["service", "exec", "2048", "--", "sh", "-c", "echo no >&2; exit 7"]);
  expect(exec).toEqual({ code: 7, stdout: "", stderr: "no\n" });
});
