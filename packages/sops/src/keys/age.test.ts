import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import {
  armor,
  Encrypter,
  generateHybridIdentity,
  generateIdentity,
  identityToRecipient,
} from "age-encryption";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openAge } from "./age.ts";
import type { KeyService, WrappedKey } from "./key.ts";

const dataKey = Uint8Array.from({ length: 32 }, (_, index) => index * 7);
const call = {};

let home: TempDir;

beforeEach(async () => {
  home = await tempDir("age-test");
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
});

/** A service that finds its identities in the environment given and in the temporary home. */
function service(env: NodeJS.ProcessEnv = {}): KeyService {
  return openAge({
    env: { PATH: process.env.PATH, ...env },
    home: home.path,
    cwd: home.path,
    clock: () => 0,
  });
}

async function wrap(recipient: string, data = dataKey): Promise<WrappedKey> {
  return await service().wrap({ type: "age", recipient }, data, call);
}

async function newIdentity(): Promise<{ identity: string; recipient: string }> {
  const identity = await generateIdentity();
  return { identity, recipient: await identityToRecipient(identity) };
}

const testdata = join(import.meta.dirname, "testdata");

describe("a data key wrapped for a recipient is unwrapped with", () => {
  test("an X25519 identity", async () => {
    const { identity, recipient } = await newIdentity();
    const wrapped = await wrap(recipient);
    expect(wrapped.key).toEqual({ type: "age", recipient });
    expect(wrapped.enc).toMatch(
      /^-----BEGIN AGE ENCRYPTED FILE-----\n[\s\S]*\n-----END AGE ENCRYPTED FILE-----\n$/,
    );
    expect(await service({ SOPS_AGE_KEY: identity }).unwrap(wrapped, call)).toEqual(dataKey);
  });

  test("a hybrid post-quantum identity", async () => {
    const identity = await generateHybridIdentity();
    const wrapped = await wrap(await identityToRecipient(identity));
    expect(await service({ SOPS_AGE_KEY: identity }).unwrap(wrapped, call)).toEqual(dataKey);
  });

  test.each(["id_ed25519", "id_rsa", "id_rsa_pem"])("the SSH key %s", async (name) => {
    const path = join(testdata, name);
    const wrapped = await wrap(await readFile(`${path}.pub`, "utf8"));
    expect(await service({ SOPS_AGE_SSH_PRIVATE_KEY_FILE: path }).unwrap(wrapped, call)).toEqual(dataKey);
  });
});
