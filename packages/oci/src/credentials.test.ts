import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import type { TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { secretCredentials, userCredentials } from "./credentials.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");
const entry = (name: string, password = "p") => ({ auth: base64(`${name}:${password}`) });
const host = "registry.example.com";

let home: TempDir;
let env: NodeJS.ProcessEnv;
beforeEach(async () => {
  home = await tempDir("kws-credentials");
  env = { HOME: home.path, PATH: `${home.path}/bin:/usr/bin:/bin` };
});
afterEach(() => home[Symbol.asyncDispose]());

async function write(path: string, content: unknown, mode = 0o600): Promise<void> {
  const file = join(home.path, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
  await chmod(file, mode);
}

test("nobody is logged in where there are no files", async () => {
  expect(await userCredentials(env)(host, "a")).toBeUndefined();
});

test("docker's file is read, then helm's, and where variables say they are", async () => {
  await write(".config/helm/registry/config.json", {
    auths: { [host]: entry("helm"), "other.example.com": entry("o") },
  });
  expect(await userCredentials(env)(host, "a")).toEqual({ username: "helm", password: "p" });
  await write(".docker/config.json", { auths: { [host]: entry("docker", "with:colon") } });
  expect(await userCredentials(env)(host, "a")).toEqual({ username: "docker", password: "with:colon" });
  expect(await userCredentials(env)("other.example.com", "a")).toEqual({ username: "o", password: "p" });
  await write("d/config.json", { auths: {} });
  await write("h.json", { auths: { [host]: entry("moved") } });
  const moved = {
    ...env,
    DOCKER_CONFIG: join(home.path, "d"),
    HELM_REGISTRY_CONFIG: join(home.path, "h.json"),
  };
  expect(await userCredentials(moved)(host, "a")).toEqual({ username: "moved", password: "p" });
});

test.each([
  [{ identitytoken: "it", ...entry("x") }, { identityToken: "it" }],
  [{ registrytoken: "rt" }, { registryToken: "rt" }],
  [
    { username: "u", password: "p" },
    { username: "u", password: "p" },
  ],
  [{}, undefined],
  ["nonsense", undefined],
])("the entry %j is read", async (given, expected) => {
  await write(".docker/config.json", { auths: { [`https://${host}/v1/`]: given } });
  expect(await userCredentials(env)(host, "a")).toEqual(expected);
});

test("a damaged file is told without its content", async () => {
  await write(".docker/config.json", `{"auths":{"${host}":{"auth":"c2VjcmV0"}`);
  await expect(userCredentials(env)(host, "a")).rejects.toThrow(/config\.json is not JSON$/);
  await write(".docker/config.json", { auths: { [host]: { auth: base64("secret") } } });
  const message = /entry "registry.example.com" is damaged: "auth" is not a name and a password in base64$/;
  await expect(userCredentials(env)(host, "a")).rejects.toThrow(message);
});

describe("a credential helper", () => {
  const helper = (answer: string, exit = 0) =>
    write("bin/docker-credential-test", `#!/bin/sh\nread server\n${answer}\nexit ${exit}\n`, 0o755);

  test("is asked for its registry, or for all", async () => {
    await helper(`printf '{"ServerURL":"%s","Username":"u","Secret":"%s"}' "$server" "$server"`);
    await write(".docker/config.json", { credHelpers: { [host]: "test" } });
    expect(await userCredentials(env)(host, "a")).toEqual({ username: "u", password: host });
    expect(await userCredentials(env)("other.example.com", "a")).toBeUndefined();
    await write(".docker/config.json", { credsStore: "test" });
    expect(await userCredentials(env)(host, "a")).toEqual({ username: "u", password: host });
  });

  test("may give an identity token", async () => {
    await helper(`printf '{"Username":"<token>","Secret":"it"}'`);
    await write(".docker/config.json", { credsStore: "test" });
    expect(await userCredentials(env)(host, "a")).toEqual({ identityToken: "it" });
  });

  test("that knows nothing leaves it to what stands in the file", async () => {
    await helper(`echo credentials not found in native keychain`, 1);
    await write(".docker/config.json", { credsStore: "test", auths: { [host]: entry("file") } });
    expect(await userCredentials(env)(host, "a")).toEqual({ username: "file", password: "p" });
  });

  test("that fails, or is not installed, is named", async () => {
    await helper(`echo the secret is hunter2`, 1);
    await write(".docker/config.json", { credsStore: "test" });
    const failed = userCredentials(env)(host, "a");
    await expect(failed).rejects.toMatchObject({
      code: "permission",
      message: `docker-credential-test gave no credentials for ${host}`,
    });
    await write(".docker/config.json", { credsStore: "absent" });
    await expect(userCredentials(env)(host, "a")).rejects.toMatchObject({
      code: "tool-missing",
      message: expect.stringMatching(/config\.json keeps credentials with docker-credential-absent, which/),
    });
    await write(".docker/config.json", { credsStore: "../../evil" });
    await expect(userCredentials(env)(host, "a")).rejects.toThrow("is not the name of a credential helper");
  });
});

describe("a pull secret", () => {
  const secret = (auths: object) =>
    secretCredentials({ ".dockerconfigjson": base64(JSON.stringify({ auths })) }, "the Secret a/b");
  const nameFor = async (auths: object, host: string, path: string) =>
    (await secret(auths)(host, path)) as { username?: string } | undefined;

  test("of both kinds is read", async () => {
    const old = secretCredentials(
      { ".dockercfg": base64(JSON.stringify({ [host]: entry("old") })) },
      "the Secret a/b",
    );
    expect(await old(host, "a")).toEqual({ username: "old", password: "p" });
    expect(await nameFor({ [host]: entry("new") }, host, "a")).toEqual({ username: "new", password: "p" });
    expect(await secretCredentials({ other: "" }, "the Secret a/b")(host, "a")).toBeUndefined();
  });

  test("holds for the longest path that the repository is under", async () => {
    const auths = {
      [host]: entry("host"),
      [`${host}/team`]: entry("team"),
      [`${host}/team/orders`]: entry("orders"),
    };
    expect((await nameFor(auths, host, "team/orders"))?.username).toBe("orders");
    expect((await nameFor(auths, host, "team/other"))?.username).toBe("team");
    expect((await nameFor(auths, host, "teams/orders"))?.username).toBe("host");
  });

  test("may name hosts by a pattern for each of their parts, and the port counts", async () => {
    const auths = { "*.example.com": entry("star"), "registry.example.com:8443": entry("port") };
    expect((await nameFor(auths, host, "a"))?.username).toBe("star");
    expect((await nameFor(auths, `${host}:8443`, "a"))?.username).toBe("port");
    expect(await nameFor(auths, "a.b.example.com", "a")).toBeUndefined();
    expect(await nameFor(auths, "registryXexample.com", "a")).toBeUndefined();
  });
});
