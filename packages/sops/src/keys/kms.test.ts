import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { tempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sessionName } from "./aws-credentials.ts";
import type { Key, KeyService } from "./key.ts";
import { openKms } from "./kms.ts";
import { type KmsServer, startKmsServer } from "./testing/kms-server.ts";

const dataKey = Uint8Array.from({ length: 32 }, (_, index) => index * 5);
const call = {};
const arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const key = { type: "kms", arn } as const;

let server: KmsServer;

beforeEach(async () => {
  server = await startKmsServer();
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

function service(env: NodeJS.ProcessEnv = {}, timeoutMs?: number): KeyService {
  const all = {
    AWS_ENDPOINT_URL_KMS: server.url,
    AWS_ENDPOINT_URL_STS: server.url,
    AWS_ACCESS_KEY_ID: "OWN",
    AWS_SECRET_ACCESS_KEY: "secret",
    AWS_EC2_METADATA_DISABLED: "true",
    ...env,
  };
  return openKms({ env: all, home: "/no/home", cwd: "/", clock: () => Date.UTC(2024, 0, 1) }, timeoutMs);
}

test("a data key is wrapped and unwrapped, with the encryption context in any order", async () => {
  const kms = service();
  const wrapped = await kms.wrap({ ...key, context: { app: "shop", env: "qa" } }, dataKey, call);
  expect(wrapped).toMatchObject({
    created_at: "2024-01-01T00:00:00Z",
    key: { arn, context: { app: "shop" } },
  });
  const reordered: Key = { ...key, context: { env: "qa", app: "shop" } };
  expect(await kms.unwrap({ ...wrapped, key: reordered }, call)).toEqual(dataKey);
  expect(server.requests).toEqual([
    { action: "Encrypt", accessKey: "OWN" },
    { action: "Decrypt", accessKey: "OWN" },
  ]);
});

test("many calls share one client and run side by side", async () => {
  const kms = service();
  const wrapped = await kms.wrap({ ...key, role: "arn:aws:iam::111122223333:role/reader" }, dataKey, call);
  const all = await Promise.all(Array.from({ length: 20 }, async () => await kms.unwrap(wrapped, call)));
  expect(all).toEqual(Array.from({ length: 20 }, () => dataKey));
  expect(server.requests.filter((request) => request.action === "AssumeRole")).toHaveLength(1);
});

describe("the credentials are those of", () => {
  test("the role, in a session that is named as sops names it", async () => {
    await service().wrap({ ...key, role: "arn:aws:iam::111122223333:role/writer" }, dataKey, call);
    expect(server.requests).toMatchObject([
      { action: "AssumeRole", accessKey: "OWN", session: expect.stringMatching(/^sops@[\w.]+$/) as string },
      { action: "Encrypt", accessKey: "ASSUMED" },
    ]);
    expect(sessionName("build-agent.example.com")).toBe("sops@buildagent.example.com");
    expect(sessionName("x".repeat(100))).toHaveLength(64);
  });

  test.each([
    ["the key's profile, before all else", { aws_profile: "team" }, {}, "TEAM"],
    ["AWS_PROFILE, before the variables", {}, { AWS_PROFILE: "team" }, "TEAM"],
    ["AWS_PROFILE, where the key's is empty", { aws_profile: "", role: "" }, { AWS_PROFILE: "team" }, "TEAM"],
    ["the default profile, where there are no variables", {}, { AWS_ACCESS_KEY_ID: "" }, "DEFAULT"],
  ])("%s", async (_, more, env, accessKey) => {
    await using home = await tempDir("aws");
    const file = join(home.path, "credentials");
    const profile = (name: string) =>
      `[${name}]\naws_access_key_id=${name.toUpperCase()}\naws_secret_access_key=secret\n`;
    await writeFile(file, profile("default") + profile("team"));
    await service({ AWS_SHARED_CREDENTIALS_FILE: file, ...env }).wrap({ ...key, ...more }, dataKey, call);
    expect(server.requests).toMatchObject([{ accessKey }]);
  });
});

describe("an error names the key and says what to do when", () => {
  test.each([
    ["AccessDeniedException", 403, "permission", "Allow these credentials kms:Decrypt on the key"],
    ["NotFoundException", 400, "failed", "the key's state"],
    ["ExpiredTokenException", 400, "failed", "aws sso login"],
    ["constructor", 400, "failed", "the key's state"],
    ["SomethingNewException", 400, "failed", "the key's state"],
  ])("KMS answers %s", async (type, status, code, fix) => {
    const wrapped = await service().wrap(key, dataKey, call);
    server.failures.push({ status, type, message: "because" });
    await expect(service().unwrap(wrapped, call)).rejects.toMatchObject({
      reason: "couldNotRetrieveKey",
      code,
      message: `AWS KMS key ${arn}: because`,
      fix: expect.stringContaining(fix) as string,
    });
  });

  test("the context differs from the one that was wrapped with, or the blob was changed", async () => {
    const wrapped = await service().wrap({ ...key, context: { app: "shop" } }, dataKey, call);
    for (const changed of [
      { ...wrapped, key },
      { ...wrapped, enc: "AAAA" },
      { ...wrapped, enc: "" },
    ]) {
      await expect(service().unwrap(changed, call)).rejects.toMatchObject({
        fix: expect.stringContaining("encryption context") as string,
      });
    }
  });

  test("the role may not be assumed", async () => {
    const role = "arn:aws:iam::111122223333:role/forbidden";
    await expect(service().wrap({ ...key, role }, dataKey, call)).rejects.toMatchObject({
      code: "permission",
      message: `AWS KMS key ${arn} with role ${role}: not yours`,
      fix: expect.stringContaining("sts:AssumeRole") as string,
    });
  });

  test("there are no credentials", async () => {
    await expect(service({ AWS_ACCESS_KEY_ID: "" }).wrap(key, dataKey, call)).rejects.toMatchObject({
      fix: expect.stringContaining("aws sso login") as string,
    });
    expect(server.requests).toEqual([]);
  });

  test.each(["", "alias/shop", "arn:aws:s3:::bucket", "arn:aws:kms::1:key/x"])(
    "%j is no key",
    async (arn) => {
      await expect(service().wrap({ type: "kms", arn }, dataKey, call)).rejects.toMatchObject({
        code: "config",
      });
    },
  );

  test("nothing listens", async () => {
    const failed = service({ AWS_ENDPOINT_URL_KMS: "http://127.0.0.1:1", AWS_MAX_ATTEMPTS: "1" });
    await expect(failed.wrap(key, dataKey, call)).rejects.toMatchObject({
      message: expect.stringContaining("ECONNREFUSED") as string,
      fix: expect.stringContaining("can be reached") as string,
    });
  });
});

test("throttling and connections that break are tried again", async () => {
  server.failures.push({ status: 400, type: "ThrottlingException" }, "death");
  await expect(service().wrap(key, dataKey, call)).resolves.toMatchObject({ key });
  expect(server.requests).toHaveLength(3);
  server.failures.push("death", "death", "death");
  await expect(service().wrap(key, dataKey, call)).rejects.toThrow(`AWS KMS key ${arn}: `);
});

test("an answer that is cut off shows nothing of the data key", async () => {
  const wrapped = await service().wrap(key, dataKey, call);
  server.failures.push("half", "half", "half");
  const error: unknown = await service()
    .unwrap(wrapped, call)
    .catch((error: unknown) => error);
  expect(error).toMatchObject({ message: `AWS KMS key ${arn}: the answer could not be read` });
  expect(inspect(error)).not.toContain(Buffer.from(dataKey).toString("base64").slice(0, 8));
});

test("a server that is silent is given up, by timeout and by signal", async () => {
  server.failures.push("silence", "silence");
  const failed = service({ AWS_MAX_ATTEMPTS: "1" }, 50).wrap(key, dataKey, call);
  await expect(failed).rejects.toMatchObject({ reason: "errorGeneric" });
  const abort = new AbortController();
  const aborted = service().wrap(key, dataKey, { signal: abort.signal });
  await expect.poll(() => server.requests.length).toBe(2);
  abort.abort(new Error("given up"));
  await expect(aborted).rejects.toThrow("given up");
});
