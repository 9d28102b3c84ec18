import { chmod, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { exec, run } from "@kws/base/exec";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import {
  armor,
  Encrypter,
  generateHybridIdentity,
  generateIdentity,
  identityToRecipient,
  Stanza,
} from "age-encryption";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openAge } from "./age.ts";
import { configFolder } from "./age-identities.ts";
import type { KeyService, WrappedKey } from "./key.ts";
import { isInstalled } from "./testing/programs.ts";

const dataKey = Uint8Array.from({ length: 32 }, (_, index) => index * 7);
const call = {};
const testdata = join(import.meta.dirname, "testdata");
const node = process.execPath;

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

async function wrap(recipient: string): Promise<WrappedKey> {
  return await service().wrap({ type: "age", recipient }, dataKey, call);
}

/** What age makes of the data key for a recipient of our own making. */
async function wrapWith(wrapFileKey: (fileKey: Uint8Array) => Stanza[]): Promise<WrappedKey> {
  const encrypter = new Encrypter();
  encrypter.addRecipient({ wrapFileKey });
  return wrappedFor("age1test", armor.encode(await encrypter.encrypt(dataKey)));
}

function wrappedFor(recipient: string, enc: string): WrappedKey {
  return { key: { type: "age", recipient }, enc };
}

async function newIdentity(): Promise<{ identity: string; recipient: string }> {
  const identity = await generateIdentity();
  return { identity, recipient: await identityToRecipient(identity) };
}

async function fixture(name: string): Promise<string> {
  return await readFile(join(testdata, name), "utf8");
}

/** Puts a file into the temporary home; answers its path. */
async function file(path: string, text: string): Promise<string> {
  await run("mkdir", ["-p", join(home.path, path, "..")], { env: {} });
  await writeFile(join(home.path, path), text);
  return join(home.path, path);
}

describe("a data key wrapped for a recipient is unwrapped with", () => {
  test("an X25519 identity", async () => {
    const { identity, recipient } = await newIdentity();
    const wrapped = await wrap(` ${recipient}\n`);
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
    const wrapped = await wrap(await fixture(`${name}.pub`));
    expect(await service({ SOPS_AGE_SSH_PRIVATE_KEY_FILE: path }).unwrap(wrapped, call)).toEqual(dataKey);
  });

  test("the SSH key that the recipient was made from with ssh-to-age", async () => {
    const recipient = "age1qms4txafnc5flhk8cy7324eyvf9x67vqc80wnzvpqssxkwqz8c5smhgnch";
    const path = join(testdata, "id_ed25519");
    const wrapped = await wrap(recipient);
    expect(await service({ SOPS_AGE_SSH_PRIVATE_KEY_FILE: path }).unwrap(wrapped, call)).toEqual(dataKey);
  });
});

describe("an identity is found in", () => {
  test("SOPS_AGE_KEY, among others and comments", async () => {
    const [{ identity, recipient }, other] = [await newIdentity(), await newIdentity()];
    const text = `# made today\n${other.identity} ${identity}\n`;
    expect(await service({ SOPS_AGE_KEY: text }).unwrap(await wrap(recipient), call)).toEqual(dataKey);
  });

  test("the file that SOPS_AGE_KEY_FILE names, from the working directory", async () => {
    const { identity, recipient } = await newIdentity();
    await file("secret/key.txt", `# public key: ${recipient}\r\n${identity}\r\n`);
    const found = service({ SOPS_AGE_KEY_FILE: "secret/key.txt" });
    expect(await found.unwrap(await wrap(recipient), call)).toEqual(dataKey);
  });

  test.each([
    [".config/sops/age/keys.txt", {}],
    ["elsewhere/sops/age/keys.txt", { XDG_CONFIG_HOME: "elsewhere" }],
  ])("%s", async (path, env) => {
    const { identity, recipient } = await newIdentity();
    await file(path, identity);
    const absolute = Object.entries(env).map(([name, value]) => [name, join(home.path, value)]);
    const found = service(Object.fromEntries(absolute));
    expect(await found.unwrap(await wrap(recipient), call)).toEqual(dataKey);
  });

  test.each(["id_ed25519", "id_rsa"])(".ssh/%s", async (name) => {
    await file(`.ssh/${name}`, await fixture(name));
    const wrapped = await wrap(await fixture(`${name}.pub`));
    expect(await service().unwrap(wrapped, call)).toEqual(dataKey);
  });

  test("the output of SOPS_AGE_KEY_CMD, which is told the recipient and runs once for it", async () => {
    const { identity, recipient } = await newIdentity();
    const script = await file(
      "key command.js",
      `const fs = require("node:fs");
       fs.appendFileSync("calls", process.env.SOPS_AGE_RECIPIENT + "\\n");
       console.log(${JSON.stringify(identity)});`,
    );
    const found = service({ SOPS_AGE_KEY_CMD: `'${node}' "${script}"` });
    const wrapped = await wrap(recipient);
    const unwrapped = await Promise.all([found.unwrap(wrapped, call), found.unwrap(wrapped, call)]);
    expect(unwrapped).toEqual([dataKey, dataKey]);
    expect(await readFile(join(home.path, "calls"), "utf8")).toBe(`${recipient}\n`);
  });

  test("the output of SOPS_AGE_SSH_PRIVATE_KEY_CMD", async () => {
    const path = join(testdata, "id_ed25519");
    const wrapped = await wrap(await fixture("id_ed25519.pub"));
    expect(await service({ SOPS_AGE_SSH_PRIVATE_KEY_CMD: `cat '${path}'` }).unwrap(wrapped, call)).toEqual(
      dataKey,
    );
  });

  test("the folder for configuration that the platform has", () => {
    expect(configFolder({}, "/home/u", "linux")).toBe("/home/u/.config");
    expect(configFolder({ XDG_CONFIG_HOME: "/x" }, "/home/u", "linux")).toBe("/x");
    expect(configFolder({ XDG_CONFIG_HOME: "x" }, "/home/u", "linux")).toBeUndefined();
    expect(configFolder({}, "/Users/u", "darwin")).toBe("/Users/u/Library/Application Support");
    expect(configFolder({ XDG_CONFIG_HOME: "/x" }, "/Users/u", "darwin")).toBe("/x");
    expect(configFolder({ APPDATA: "C:\\u" }, "C:\\", "win32")).toBe("C:\\u");
  });
});

test("no command is run where an identity at hand opens the key", async () => {
  const { identity, recipient } = await newIdentity();
  const found = service({
    SOPS_AGE_KEY: identity,
    SOPS_AGE_KEY_CMD: `'${node}' -e 'fs.writeFileSync("ran", "")'`,
  });
  await found.unwrap(await wrap(recipient), call);
  await expect(readFile(join(home.path, "ran"))).rejects.toThrow("ENOENT");
});

test("a command that one caller gave up is run anew for the others", async () => {
  const { identity, recipient } = await newIdentity();
  const script = await file(
    "once.js",
    `
    const fs = require("node:fs");
    if (fs.existsSync("started")) console.log(${JSON.stringify(identity)});
    else { fs.writeFileSync("started", ""); setInterval(() => {}, 1000); }`,
  );
  const found = service({ SOPS_AGE_KEY_CMD: `'${node}' '${script}'` });
  const wrapped = await wrap(recipient);
  const abort = new AbortController();
  const first = found.unwrap(wrapped, { signal: abort.signal });
  const others = [found.unwrap(wrapped, call), found.unwrap(wrapped, call)];
  await expect
    .poll(async () => await exec("test", ["-e", join(home.path, "started")], { env: {} }))
    .toMatchObject({ exitCode: 0 });
  abort.abort(new Error("given up"));
  await expect(first).rejects.toThrow("given up");
  expect(await Promise.all(others)).toEqual([dataKey, dataKey]);
});

describe("an error says what to do when", () => {
  test("there is no identity: where it looked", async () => {
    const { recipient } = await newIdentity();
    const failed = service().unwrap(await wrap(recipient), call);
    await expect(failed).rejects.toMatchObject({
      reason: "couldNotRetrieveKey",
      exitCode: 128,
      message: `age recipient ${recipient}: there is no age identity`,
      fix: expect.stringContaining(join(home.path, ".config/sops/age/keys.txt")) as string,
    });
  });

  test("identities are for others", async () => {
    const { recipient } = await newIdentity();
    const { identity } = await newIdentity();
    const failed = service({ SOPS_AGE_KEY: identity }).unwrap(await wrap(recipient), call);
    await expect(failed).rejects.toThrow("the age identity here is not for it");
  });

  test.each([
    [
      "a variable without one",
      { SOPS_AGE_KEY: "AGE-SECRET-KEY-1CANARY" },
      "SOPS_AGE_KEY: line 1 is not an age identity",
    ],
    ["a missing file", { SOPS_AGE_KEY_FILE: "/nowhere/k" }, "SOPS_AGE_KEY_FILE (/nowhere/k): ENOENT"],
    [
      "an encrypted file",
      { SOPS_AGE_KEY: "age-encryption.org/v1\n" },
      "SOPS_AGE_KEY: it is encrypted itself",
    ],
    ["no command", { SOPS_AGE_KEY_CMD: " " }, "SOPS_AGE_KEY_CMD: the command is empty"],
    ["an open quote", { SOPS_AGE_KEY_CMD: "a 'b" }, "SOPS_AGE_KEY_CMD: a ' is not closed"],
    ["a missing command", { SOPS_AGE_KEY_CMD: "kws-no-such" }, "kws-no-such cannot be started"],
    [
      "a failing command",
      { SOPS_AGE_KEY_CMD: "sh -c 'echo CANARY; echo sorry >&2; exit 3'" },
      "sh exited with 3: sorry",
    ],
    ["no SSH key", { SOPS_AGE_SSH_PRIVATE_KEY_FILE: "/dev/null" }, "there is no age identity"],
    [
      "a protected SSH key",
      { SOPS_AGE_SSH_PRIVATE_KEY_FILE: join(testdata, "id_protected") },
      "it is protected by a passphrase",
    ],
    [
      "an SSH key for signatures",
      { SOPS_AGE_SSH_PRIVATE_KEY_FILE: join(testdata, "id_ecdsa") },
      "ecdsa-sha2-nistp256 cannot decrypt",
    ],
    [
      "a public SSH key",
      { SOPS_AGE_SSH_PRIVATE_KEY_FILE: join(testdata, "id_rsa.pub") },
      "it is not an SSH private key",
    ],
  ])("a place holds %s", async (_, env, message) => {
    const { recipient } = await newIdentity();
    const error: unknown = await service(env)
      .unwrap(await wrap(recipient), call)
      .catch((error: unknown) => error);
    expect(String(error)).toContain(message);
    expect(String(error)).not.toContain("CANARY");
  });

  test.each([
    ["age1nonsense", "age recipient age1nonsense cannot be encrypted for"],
    ["ssh-dss AAAAB3NzaC1kc3MA", "keys of type ssh-dss cannot encrypt"],
    ["ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIKy1", "its type and its data differ"],
    ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKy1", "it is cut off or damaged"],
    ["somebody@example.com", "unrecognized recipient type"],
    ["", "unrecognized recipient type"],
  ])("the recipient is %j", async (recipient, message) => {
    await expect(wrap(recipient)).rejects.toThrow(message);
    await expect(wrap(recipient)).rejects.toMatchObject({ reason: "errorGeneric", code: "config" });
  });

  test("the recipient is an RSA key that is too short", async () => {
    const line = await fixture("id_rsa_short.pub");
    await expect(wrap(line)).rejects.toThrow("RSA keys need at least 2048 bits, and it has 1024");
  });
});

describe("a file is refused that", () => {
  test("is cut off or changed anywhere", async () => {
    const { identity, recipient } = await newIdentity();
    const { enc } = await wrap(recipient);
    const found = service({ SOPS_AGE_KEY: identity });
    const bytes = armor.decode(enc);
    const changed = [...bytes.keys()].map((at) => armor.encode(bytes.with(at, (bytes[at] ?? 0) ^ 1)));
    const cut = [0, 1, 22, 60, 100, 150, bytes.length - 1].map((end) => armor.encode(bytes.subarray(0, end)));
    const armors = [
      "",
      enc.slice(0, -40),
      enc.replace("BEGIN", "BEGUN"),
      enc.replaceAll("\n", ""),
      "A".repeat(70_000),
    ];
    for (const bad of [...changed, ...cut, ...armors]) {
      await expect(found.unwrap(wrappedFor(recipient, bad), call)).rejects.toMatchObject({
        reason: "couldNotRetrieveKey",
      });
    }
  });

  test("is protected by a passphrase", async () => {
    const encrypter = new Encrypter();
    encrypter.setScryptWorkFactor(1);
    encrypter.setPassphrase("secret");
    const wrapped = wrappedFor("age1test", armor.encode(await encrypter.encrypt(dataKey)));
    await expect(service().unwrap(wrapped, call)).rejects.toThrow("it is protected by a passphrase");
  });

  test("is for a type of recipient that is not known", async () => {
    const wrapped = await wrapWith(() => [new Stanza(["example.com/future", "x"], new Uint8Array(16))]);
    await expect(service().unwrap(wrapped, call)).rejects.toThrow(
      "it needs a plugin's identity, for example.com/future",
    );
  });

  test("is larger than any data key needs", async () => {
    const { enc } = await wrapWith(() => [new Stanza(["X25519", "A"], new Uint8Array(60_000))]);
    await expect(service().unwrap(wrappedFor("age1test", enc), call)).rejects.toThrow(
      /it has \d+ characters/,
    );
  });

  test.each([
    ["an X25519 share that is no point of use", ["X25519", "A".repeat(43)], "id_ed25519"],
    ["an SSH key's share that is no point of use", ["ssh-ed25519", "TAG", "A".repeat(43)], "id_ed25519"],
    ["an SSH key's share of the wrong size", ["ssh-ed25519", "TAG", "AAAA"], "id_ed25519"],
    ["an SSH key's stanza without a share", ["ssh-ed25519", "TAG"], "id_ed25519"],
    ["an RSA stanza with too much", ["ssh-rsa", "TAG", "AAAA"], "id_rsa"],
    ["an RSA body that does not decrypt", ["ssh-rsa", "TAG"], "id_rsa"],
  ])("has %s", async (_, args, name) => {
    const { enc } = await wrap(await fixture(`${name}.pub`));
    const tag = /ssh-\w+ (\S+)/.exec(Buffer.from(armor.decode(enc)).toString("latin1"))?.[1] ?? "";
    const wrapped = await wrapWith(() => [
      new Stanza(
        args.map((arg) => arg.replace("TAG", tag)),
        new Uint8Array(32),
      ),
    ]);
    const failed = service({ SOPS_AGE_SSH_PRIVATE_KEY_FILE: join(testdata, name) }).unwrap(wrapped, call);
    await expect(failed).rejects.toThrow("what the file holds for age recipient age1test is damaged");
  });
});

describe.skipIf(!(await isInstalled("age")))("with the age program", () => {
  test.each(["X25519", "id_ed25519", "id_rsa"])("keys go both ways for %s", async (kind) => {
    const { identity, recipient } =
      kind === "X25519"
        ? await newIdentity()
        : { identity: await fixture(kind), recipient: await fixture(`${kind}.pub`) };
    const path = await file("identity", identity);
    const env = { PATH: process.env.PATH };
    const ours = await wrap(recipient);
    const opened = await run("age", ["-d", "-i", path], { env, input: ours.enc, encoding: "latin1" });
    expect(Buffer.from(opened.stdout, "latin1")).toEqual(Buffer.from(dataKey));

    const theirs = await run("age", ["-a", "-r", recipient], { env, input: dataKey });
    const found = service({
      [kind === "X25519" ? "SOPS_AGE_KEY_FILE" : "SOPS_AGE_SSH_PRIVATE_KEY_FILE"]: path,
    });
    expect(await found.unwrap(wrappedFor(recipient, theirs.stdout), call)).toEqual(dataKey);
  });

  test("a plugin wraps and unwraps", async () => {
    await file("bin/age-plugin-test", `#!${node}\n${plugin}`);
    await chmod(join(home.path, "bin/age-plugin-test"), 0o755);
    const env = {
      PATH: [join(home.path, "bin"), process.env.PATH].join(delimiter),
      SOPS_AGE_KEY: "AGE-PLUGIN-TEST-1QQQQQQQQQQQQQTWMZKV",
    };
    const key = { type: "age", recipient: "age1test1qqqqqqqqqqqqqse6cum" } as const;
    const wrapped = await service(env).wrap(key, dataKey, call);
    expect(await service(env).unwrap(wrapped, call)).toEqual(dataKey);
    await expect(service().unwrap(wrapped, call)).rejects.toThrow("it needs a plugin's identity, for test");
    await expect(service().wrap(key, dataKey, call)).rejects.toMatchObject({
      fix: "Install age and age-plugin-test.",
    });
  });
});

test("a plugin's identity says that it needs the age program where there is none", async () => {
  const wrapped = await wrapWith(() => [new Stanza(["test", "x"], new Uint8Array(16))]);
  const failed = service({ PATH: home.path, SOPS_AGE_KEY: "AGE-PLUGIN-TEST-1QQQQQQQQQQQQQTWMZKV" }).unwrap(
    wrapped,
    call,
  );
  await expect(failed).rejects.toThrow("the plugins' identities: age cannot be started: it is not installed");
});

/** A plugin (C2SP's age-plugin protocol) whose stanza carries the file key in the clear. */
const plugin = `
  const lines = require("node:readline").createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  (async () => {
    let fileKey;
    for (let line = await next(); line !== "-> done"; line = await next()) {
      if (line.startsWith("-> wrap-file-key") || line.startsWith("-> recipient-stanza 0 test")) fileKey = await next();
    }
    await next();
    const wraps = process.argv[2] === "--age-plugin=recipient-v1";
    process.stdout.write((wraps ? "-> recipient-stanza 0 test\\n" : "-> file-key 0\\n") + fileKey + "\\n");
    await next();
    process.stdout.write("-> done\\n\\n");
  })();
`;
