/**
 * Files that were written once: what they hold has to stay readable, and what is written has to stay the same. Where there
 * is a `sops` program, it reads what is written here, and what it writes is read here.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exec } from "@kws/base/exec";
import { beforeAll, describe, expect, it } from "vitest";
import { decrypt, edit, encrypt } from "./file.ts";
import { formatOfPath, readPlain } from "./formats.ts";
import { openKeyring, type Keyring } from "./keyring.ts";
import { openKeyServices } from "./keys/services.ts";
import { isInstalled } from "./keys/testing/programs.ts";
import { toPlain } from "./tree.ts";

const folder = new URL("testdata/", import.meta.url);
const read = (name: string): Promise<string> => readFile(new URL(name, folder), "utf8");
const extensions = ["yaml", "json", "env", "ini", "bin"];

let identities: string[];
let recipients: string[];

beforeAll(async () => {
  const text = await read("identities.txt");
  identities = text.match(/^AGE-SECRET-KEY-.*$/gm)!;
  recipients = text.match(/age1\w+$/gm)!;
});

function keyringWith(held: readonly string[]): Keyring {
  const world = { env: { SOPS_AGE_KEY: held.join("\n") }, home: "/nowhere", cwd: "/", clock: () => 0 };
  return openKeyring({ services: openKeyServices(world) });
}

describe.each(extensions)("sealed.%s", (extension) => {
  const name = `sealed.${extension}`;

  it("opens as its plain twin", async () => {
    const open = await decrypt(await read(name), {
      format: formatOfPath(name),
      keyring: keyringWith(identities),
    });
    expect(open.content().toString()).toBe(await read(`plain.${extension}`));
  });

  it("is written the same again", async () => {
    const sealed = await read(name);
    const open = await decrypt(sealed, { format: formatOfPath(name), keyring: keyringWith(identities) });
    expect(edit(open, open.content(), { now: new Date(open.metadata.lastModified) })).toBe(sealed);
  });
});

describe("older.yaml", () => {
  it("has its block as sops wrote it before 3.13, and opens all the same", async () => {
    const keyring = keyringWith(identities);
    const open = await decrypt(await read("older.yaml"), { format: "yaml", keyring });
    expect(open.content().toString()).toBe(await read("plain.yaml"));
    const again = edit(open, open.content(), { now: new Date(open.metadata.lastModified) });
    const sealed = (await read("sealed.yaml")).replaceAll(/    unencrypted_suffix.*\n/g, "");
    expect(again).toBe(sealed.replaceAll("version: 3.13.2", "version: 3.6.1"));
  });
});

describe("groups.yaml", () => {
  it.each([
    [[0, 1], true],
    [[2, 0], true],
    [[0, 1, 2], true],
    [[1], false],
  ])("opens with the identities %j: %s", async (held, opens) => {
    const keyring = keyringWith(held.map((index) => identities[index]!));
    const opened = decrypt(await read("groups.yaml"), { format: "yaml", keyring }).then(
      (open) => open.values(),
      (error: Error) => error.message,
    );
    const told: unknown = expect.stringContaining("1 of the 2 needed key groups open");
    expect(await opened).toEqual(opens ? { kind: "Secret", data: { token: "t0ken" } } : told);
  });
});

const hasSops = await isInstalled("sops");

describe.skipIf(!hasSops).each(extensions)("the sops program and a file .%s", (extension) => {
  const format = formatOfPath(`x.${extension}`);

  async function sops(args: string[], file: string, content: string): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), "kws-sops-"));
    try {
      const path = join(directory, file);
      await writeFile(path, content);
      const env = { PATH: process.env.PATH, HOME: directory, SOPS_AGE_KEY: identities.join("\n") };
      const { stdout, stderr, exitCode } = await exec("sops", [...args, path], { env });
      if (exitCode !== 0) throw new Error(stderr);
      return stdout;
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  /** Versions of sops differ in where they put comments behind values. */
  function valuesOf(text: string | Uint8Array): unknown {
    return readPlain(text, format, undefined).map(toPlain);
  }

  it("agree about what is written here", async () => {
    const plain = await read(`plain.${extension}`);
    const sealed = await encrypt(plain, {
      format,
      keyring: keyringWith(identities),
      groups: [[{ type: "age", recipient: recipients[0]! }]],
      now: new Date(),
    });
    expect(valuesOf(await sops(["decrypt"], `x.${extension}`, sealed))).toEqual(valuesOf(plain));
  });

  it("agree about what sops writes", async () => {
    const plain = await read(`plain.${extension}`);
    const sealed = await sops(["encrypt", "--age", recipients[0]!], `x.${extension}`, plain);
    const open = await decrypt(sealed, { format, keyring: keyringWith(identities) });
    expect(valuesOf(open.content())).toEqual(valuesOf(plain));
  });
});
