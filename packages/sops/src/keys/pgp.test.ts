import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "@kws/base/exec";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { createMessage, encrypt, generateKey, readKey } from "openpgp";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { KeyService, WrappedKey } from "./key.ts";
import { openPgp } from "./pgp.ts";
import { isInstalled } from "./testing/programs.ts";

const dataKey = Uint8Array.from({ length: 32 }, (_, index) => 255 - index * 3);
const call = {};

let home: TempDir;

beforeEach(async () => {
  home = await tempDir("pgp-test");
  await chmod(home.path, 0o700);
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
});

/** A service that sees the folder as GnuPG's home, and GnuPG itself only where the environment says so. */
function service(gnupgHome: string, env: NodeJS.ProcessEnv = { SOPS_GPG_EXEC: "/no/gpg" }): KeyService {
  return openPgp({
    env: { GNUPGHOME: gnupgHome, ...env },
    home: home.path,
    cwd: home.path,
    clock: () => Date.UTC(2024, 1, 29, 12, 0, 0, 500),
  });
}

/** A new key in keyrings of the older format, in the temporary home; answers its fingerprint. */
async function keyrings(options: { passphrase?: string } = {}): Promise<string> {
  const pair = await generateKey({ userIDs: [{ name: "Test" }], format: "object", ...options });
  await writeFile(join(home.path, "secring.gpg"), pair.privateKey.write());
  await writeFile(join(home.path, "pubring.gpg"), pair.publicKey.write());
  return pair.publicKey.getFingerprint().toUpperCase();
}

function wrappedFor(fp: string, enc: string): WrappedKey {
  return { key: { type: "pgp", fp }, enc };
}

describe("with keyrings alone", () => {
  test("a data key is wrapped and unwrapped", async () => {
    const fp = await keyrings();
    const wrapped = await service(home.path).wrap(
      { type: "pgp", fp: fp.toLowerCase().replace(/^.{8}/, "$& ") },
      dataKey,
      call,
    );
    expect(wrapped).toMatchObject({ key: { type: "pgp", fp }, created_at: "2024-02-29T12:00:00Z" });
    expect(wrapped.enc).toMatch(/^-----BEGIN PGP MESSAGE-----\n[\s\S]*\n-----END PGP MESSAGE-----$/);
    expect(await service(home.path).unwrap(wrapped, call)).toEqual(dataKey);
  });

  test("they come after a GnuPG that fails", async () => {
    const fp = await keyrings();
    const failing = service(home.path, { PATH: process.env.PATH, SOPS_GPG_EXEC: "false" });
    const wrapped = await failing.wrap({ type: "pgp", fp }, dataKey, call);
    expect(await failing.unwrap(wrapped, call)).toEqual(dataKey);
  });

  test("a key that is in none of them is told, with what to do", async () => {
    await keyrings();
    const fp = "0123456789ABCDEF0123456789ABCDEF01234567";
    await expect(service(home.path).wrap({ type: "pgp", fp }, dataKey, call)).rejects.toMatchObject({
      reason: "errorGeneric",
      message: expect.stringContaining(`PGP key ${fp} cannot be encrypted for`) as string,
      fix: expect.stringContaining("gpg --import") as string,
    });
  });

  test.each(["", "--output=x", "somebody@example.com", "0123"])("%j is no fingerprint", async (fp) => {
    await expect(service(home.path).wrap({ type: "pgp", fp }, dataKey, call)).rejects.toMatchObject({
      code: "config",
    });
  });

  test("secret keys for others, protected ones and none at all are told apart", async () => {
    const fp = await keyrings();
    const wrapped = await service(home.path).wrap({ type: "pgp", fp }, dataKey, call);
    const unwrap = async () => await service(home.path).unwrap(wrapped, call);
    await keyrings();
    await expect(unwrap()).rejects.toMatchObject({ reason: "couldNotRetrieveKey", exitCode: 128 });
    await keyrings({ passphrase: "secret" });
    await expect(unwrap()).rejects.toThrow("a passphrase protects every key in secring.gpg");
    await writeFile(join(home.path, "secring.gpg"), "garbage");
    await expect(unwrap()).rejects.toThrow(`${join(home.path, "secring.gpg")}: `);
    await expect(service("/no/home").unwrap(wrapped, call)).rejects.toThrow("/no/gpg cannot be started");
    await expect(service("/no/home").unwrap(wrapped, call)).rejects.toThrow(
      "no secret key is in secring.gpg",
    );
  });

  test("messages that are cut off, changed, too long, or unpack to far too much are refused", async () => {
    const fp = await keyrings();
    const { enc } = await service(home.path).wrap({ type: "pgp", fp }, dataKey, call);
    const middle = Math.floor(enc.length / 2);
    const flipped = `${enc.slice(0, middle)}${enc[middle] === "A" ? "B" : "A"}${enc.slice(middle + 1)}`;
    const bomb = await encrypt({
      message: await createMessage({ binary: new Uint8Array(8_000_000) }),
      encryptionKeys: await readKey({ binaryKey: await readFile(join(home.path, "pubring.gpg")) }),
      config: { preferredCompressionAlgorithm: 2 },
    });
    expect(bomb.length).toBeLessThan(64 * 1024);
    for (const bad of ["", "x", enc.slice(0, middle), flipped, `${enc}${" ".repeat(70_000)}`, bomb]) {
      await expect(service(home.path).unwrap(wrappedFor(fp, bad), call)).rejects.toMatchObject({
        reason: "couldNotRetrieveKey",
      });
    }
  });
});

describe.skipIf(!(await isInstalled("gpg")))("with GnuPG", () => {
  let gnupg: TempDir;
  let fp: string;
  const env = { PATH: process.env.PATH };

  const gpg = async (...args: string[]) =>
    await run("gpg", ["--homedir", gnupg.path, "--batch", ...args], { env, encoding: "latin1" });

  beforeAll(async () => {
    gnupg = await tempDir("gnupg");
    await gpg(
      "--passphrase",
      "",
      "--quick-generate-key",
      "Test <test@example.com>",
      "future-default",
      "default",
      "never",
    );
    fp = /^fpr:+([0-9A-F]{40}):/m.exec((await gpg("--with-colons", "--list-keys")).stdout)?.[1] ?? "";
  });

  afterAll(async () => {
    await run("gpgconf", ["--homedir", gnupg.path, "--kill", "all"], { env });
    await gnupg[Symbol.asyncDispose]();
  });

  test("a data key is wrapped and unwrapped", async () => {
    const wrapped = await service(gnupg.path, env).wrap({ type: "pgp", fp }, dataKey, call);
    expect(wrapped.enc).toMatch(/^-----BEGIN PGP MESSAGE-----\n[\s\S]*\n-----END PGP MESSAGE-----$/);
    expect(await service(gnupg.path, env).unwrap(wrapped, call)).toEqual(dataKey);
  });

  test("what GnuPG wrapped opens with its exported key, and the other way round", async () => {
    await writeFile(
      join(home.path, "secring.gpg"),
      Buffer.from((await gpg("--export-secret-keys")).stdout, "latin1"),
    );
    const theirs = await service(gnupg.path, env).wrap({ type: "pgp", fp }, dataKey, call);
    expect(await service(home.path).unwrap(theirs, call)).toEqual(dataKey);
    const ours = await service(home.path).wrap({ type: "pgp", fp }, dataKey, call);
    expect(await service(gnupg.path, env).unwrap(ours, call)).toEqual(dataKey);
  });

  test("what is for somebody else says so in GnuPG's words", async () => {
    const other = await keyrings();
    const wrapped = await service(home.path).wrap({ type: "pgp", fp: other }, dataKey, call);
    const failed = service(gnupg.path, env).unwrap(wrapped, call);
    await expect(failed).rejects.toThrow(
      "gpg: decryption failed: No secret key; no secret key is in secring.gpg",
    );
  });

  test("a call that is given up ends", async () => {
    const wrapped = await service(gnupg.path, env).wrap({ type: "pgp", fp }, dataKey, call);
    const signal = AbortSignal.abort(new Error("given up"));
    await expect(service(gnupg.path, env).unwrap(wrapped, { signal })).rejects.toThrow("given up");
  });
});
