/** A profile's secrets from the encrypted file to the pods, which are replaced when one changes and only then. */
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pods } from "@kws/kube/resources";
import { encrypt } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, repository, type Kws } from "./kws.ts";

let kws: Kws;
let keys: TestKeys;
let profile: string;
let workspace: string;

beforeAll(async () => {
  kws = await newKws();
  keys = await ageKeys();
  workspace = join(kws.home, "work");
  await cp(join(repository, "examples/shop/payments"), workspace, { recursive: true });
  profile = join(workspace, "chart/profiles/qa");
  const config = join(kws.home, ".config/sops/age");
  await mkdir(config, { recursive: true });
  await writeFile(join(config, "keys.txt"), `${keys.identity}\n`);
});
afterAll(() => kws[Symbol.asyncDispose]());

async function setToken(token: string): Promise<void> {
  const options = { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now: new Date() } as const;
  await writeFile(
    join(profile, "secrets.yaml"),
    await encrypt(`secrets:\n  ADMIN_TOKEN: ${token}\n`, options),
  );
}

async function start(): Promise<string[]> {
  const { code, stdout, stderr } = await kws.run(["stack", "start", "-p", "qa1"], { cwd: workspace });
  expect(code, stderr).toBe(0);
  expect(stdout + stderr).not.toContain("sotto-voce");
  const { items } = await (await kws.client()).list(pods, "payments");
  return items.map(({ metadata }) => metadata.name);
}

test("a changed secret replaces the pods, an unchanged one leaves them, and nothing repeats it", async () => {
  await setToken("sotto-voce-1");
  const first = await start();
  expect(first).toHaveLength(1);
  expect(await start()).toEqual(first);
  const ask = ["service", "exec", "payments", "--", "node", "-e", "console.log(process.env.ADMIN_TOKEN)"];
  expect((await kws.run(ask, { cwd: workspace })).stdout).toBe("sotto-voce-1\n");

  await setToken("sotto-voce-2");
  const second = await start();
  expect(second.filter((name) => !first.includes(name))).toHaveLength(1);
  expect((await kws.run(ask, { cwd: workspace })).stdout).toBe("sotto-voce-2\n");
  expect(await filesWith("sotto-voce", join(kws.home, ".cache"))).toEqual([]);
});

test("secrets are hidden in all that is shown of a profile, unless they are to be revealed", async () => {
  await setToken("sotto-voce-3");
  const shown = async (...args: string[]) => (await kws.run(args, { cwd: workspace })).stdout;
  const places = await shown("profile", "explain", "payments", "secrets.ADMIN_TOKEN", "-p", "qa1");
  expect(places).toMatch(/<redacted> +qa +chart\/profiles\/qa\/secrets\.yaml:2:\d+\n +overrides/);
  for (const args of [
    ["render", "payments", "-p", "qa1"],
    ["render", "payments", "-p", "qa1", "--manifests"],
    ["diff", "payments", "local", "qa1"],
    ["explain", "payments", "secrets", "-p", "qa1"],
  ]) {
    const text = await shown("profile", ...args);
    expect(text).toContain("<redacted>");
    expect(text).not.toMatch(new RegExp(`sotto-voce|${Buffer.from("sotto-voce-3").toString("base64")}`));
    const revealed = await shown("profile", ...args, "--reveal", "-o", "json");
    expect(revealed).toMatch(new RegExp(`sotto-voce-3|${Buffer.from("sotto-voce-3").toString("base64")}`));
  }
});

test("configuration and secrets are files where the chart mounts them, with every byte", async () => {
  const chart = join(workspace, "chart");
  const path = join(chart, "templates/deployment.yaml");
  const text = await readFile(path, "utf8");
  const mount = `          volumeMounts:
            - { name: configuration, mountPath: /etc/payments, readOnly: true }
      volumes:
        - {{- include "kws.volume" . | nindent 10 }}
`;
  await writeFile(path, text + mount);
  await writeFile(
    join(profile, "values.yaml"),
    `config: { server.properties: "a=1\\nb=<ü>\\n", bytes: { base64: AAEC/w== }, MAX_CENTS: 1000000 }\n`,
  );
  await start();
  const read = `const { readFileSync } = require("node:fs");
    const files = ["server.properties", "bytes", "MAX_CENTS", "ADMIN_TOKEN"];
    console.log(JSON.stringify(files.map((name) => readFileSync("/etc/payments/" + name).toString("base64"))))`;
  const { stdout } = await kws.run(["service", "exec", "payments", "--", "node", "-e", read]);
  const contents = (JSON.parse(stdout) as string[]).map((content) => Buffer.from(content, "base64"));
  const expected = ["a=1\nb=<ü>\n", Buffer.from([0, 1, 2, 255]), "1000000", "sotto-voce-3"];
  expect(contents).toEqual(expected.map((content) => Buffer.from(content)));
});

test("without its key, a stack is not started", async () => {
  await setToken("sotto-voce-4");
  await writeFile(join(kws.home, ".config/sops/age/keys.txt"), `${(await ageKeys()).identity}\n`);
  const { code, stderr } = await kws.run(["stack", "start", "-p", "qa1"], { cwd: workspace });
  expect(code).toBe(7);
  expect(stderr).toContain(join(profile, "secrets.yaml"));
});

async function filesWith(text: string, dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const contents = await Promise.all(paths.map((path) => readFile(path)));
  return paths.filter((_, index) => contents[index]?.includes(text));
}
