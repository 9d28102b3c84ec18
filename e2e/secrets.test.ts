/** Encrypted files from the command line: what is written, what is refused, and that no plaintext is left anywhere. */
import { chmod, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "@kws/base/exec";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { inherited, newKws, type Kws, type Result, type RunOptions } from "./kws.ts";

/** In every plaintext of this file. */
const canary = "sotto-voce";
const secrets = "chart/profiles/qa/secrets.yaml";
let kws: Kws;
let recipient: string;
let work: string;

beforeAll(async () => {
  kws = await newKws();
  recipient = (await kws.run(["secrets", "keygen"])).stdout.trim();
});
afterAll(() => kws[Symbol.asyncDispose]());

beforeEach(async () => {
  work = join(kws.home, "work");
  await rm(work, { recursive: true, force: true });
  await mkdir(dirname(join(work, secrets)), { recursive: true });
  await write(".sops.yaml", `creation_rules:\n  - path_regex: secrets\\.\n    age: ${recipient}\n`);
});

const write = (path: string, text: string) => writeFile(join(work, path), text);
const read = (path: string) => readFile(join(work, path), "utf8");
const sops = (args: string[], options: RunOptions = {}) =>
  kws.run(["secrets", ...args], { cwd: work, ...options });

/** Fails with what was said where the code is another one. */
async function expectCode(expected: number, running: Promise<Result>): Promise<Result> {
  const result = await running;
  expect({ code: result.code, said: result.stderr }).toEqual({ code: expected, said: result.stderr });
  return result;
}

async function seal(text: string, path = secrets): Promise<string> {
  await write(path, text);
  await expectCode(0, sops(["encrypt", "--in-place", path]));
  return read(path);
}

/** A program that edits: it is given the file. */
async function editor(script: string): Promise<NodeJS.ProcessEnv> {
  const path = join(kws.home, "editor.sh");
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return { EDITOR: path };
}

const editing = () => readdirSync("/dev/shm").filter((name) => name.startsWith("kws-edit-"));

async function filesWith(text: string, dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return paths.filter((path) => readFileSync(path).includes(text));
}

test("an identity is readable by its owner alone, and decrypts what is encrypted for it", async () => {
  const keys = join(kws.home, ".config/sops/age");
  const modes = await run("stat", ["-c", "%a", keys, join(keys, "keys.txt")], { env: inherited });
  expect(modes.stdout).toBe("700\n600\n");
  expect(recipient).toMatch(/^age1[0-9a-z]{58}$/);
  const plain = `# of the payments API\nsecrets:\n    TOKEN: ${canary}\n    PORT: 8080\n`;
  expect(await seal(plain)).not.toContain(canary);
  expect((await sops(["decrypt", secrets])).stdout).toBe(plain);
  expect((await sops(["get", secrets, "secrets.TOKEN"])).stdout).toBe(canary);
  expect(JSON.parse((await sops(["decrypt", secrets, "-o", "json"])).stdout)).toEqual({
    secrets: { TOKEN: canary, PORT: 8080 },
  });
});

test("values are set from standard input and unset, and the others keep their ciphertext", async () => {
  const before = await seal(`a: ${canary}-1\nb: ${canary}-2\n`);
  const { stdout, stderr } = await expectCode(0, sops(["set", secrets, "a"], { input: `${canary}-3\n` }));
  expect(stdout + stderr).not.toContain(canary);
  const after = await read(secrets);
  expect(after.split("\n")[0]).not.toBe(before.split("\n")[0]);
  expect(after.split("\n")[1]).toBe(before.split("\n")[1]);
  expect((await sops(["get", secrets, "a"])).stdout).toBe(`${canary}-3`);
  await expectCode(0, sops(["set", secrets, "c[0]", "--json"], { input: "[1, true]" }));
  await expectCode(0, sops(["unset", secrets, "a"]));
  expect(JSON.parse((await sops(["decrypt", secrets, "-o", "json"])).stdout)).toEqual({
    b: `${canary}-2`,
    c: [[1, true]],
  });
  const warned = await expectCode(0, sops(["set", secrets, "d", '"x"']));
  expect(warned.stderr).toContain("Others on this machine can see arguments");
});

test("a file keeps its mode, and a symbolic link stays one", async () => {
  await seal(`a: ${canary}\n`);
  await chmod(join(work, secrets), 0o640);
  await symlink(secrets, join(work, "link.yaml"));
  await expectCode(0, sops(["set", "link.yaml", "b"], { input: "c" }));
  expect(await readlink(join(work, "link.yaml"))).toBe(secrets);
  expect((await stat(join(work, secrets))).mode & 0o777).toBe(0o640);
  expect((await sops(["get", secrets, "b"])).stdout).toBe("c");
});

test("an editor works on a private file in memory, and what it leaves there goes with it", async () => {
  await seal(`a: ${canary}-1\n`);
  const look = join(kws.home, "look");
  const env = await editor(
    `stat -c '%a %n' "$1" "$(dirname "$1")" > ${look}; cp "$1" "$1.swp"; sed -i s/${canary}-1/${canary}-2/ "$1"`,
  );
  await expectCode(0, sops(["edit", secrets], { env }));
  expect(await readFile(look, "utf8")).toMatch(/^600 (\/dev\/shm\/kws-edit-\w+)\/secrets\.yaml\n700 \1\n$/);
  expect((await sops(["get", secrets, "a"])).stdout).toBe(`${canary}-2`);
  expect(editing()).toEqual([]);
});

test.each([
  ["changes nothing", "true", 200],
  ["fails", "exit 3", 201],
  ["is killed", "kill -9 $$", 201],
  ["leaves no YAML", 'echo "a: [" > "$1"', 1],
  ["removes the file", 'rm "$1"', 201],
])("where the editor %s, the file stays", async (_case, script, code) => {
  const before = await seal(`a: ${canary}\n`);
  const { stdout, stderr } = await expectCode(code, sops(["edit", secrets], { env: await editor(script) }));
  expect(stdout + stderr).not.toContain(canary);
  expect(await read(secrets)).toBe(before);
  expect(editing()).toEqual([]);
});

test("what somebody else wrote meanwhile is not written over", async () => {
  await seal(`a: ${canary}\n`);
  const env = await editor(`echo "other: 1" > ${join(work, secrets)}; echo "b: 1" >> "$1"`);
  await expectCode(9, sops(["edit", secrets], { env }));
  expect(await read(secrets)).toBe("other: 1\n");
});

test("where kws is killed during an edit the plaintext goes away, and no argument ever held it", async () => {
  await seal(`a: ${canary}\n`);
  const going = join(kws.home, "going");
  await rm(going, { force: true });
  const env = await editor(`echo $PPID > ${going}; while [ -e "$1" ]; do sleep 0.05; done`);
  const running = sops(["edit", secrets], { env }).catch(() => undefined);
  await vi.waitUntil(() => existsSync(going) && readFileSync(going, "utf8").endsWith("\n"), 20_000);
  expect(editing()).toHaveLength(1);
  const lines = kws.processes().map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8") + readFileSync(`/proc/${pid}/environ`, "utf8");
    } catch {
      return ""; // It has ended meanwhile.
    }
  });
  expect(lines.join("")).not.toContain(canary);
  process.kill(Number(readFileSync(going, "utf8")), "SIGKILL");
  await vi.waitUntil(() => editing().length === 0, 20_000);
  await running;
});

test("a folder that is not in memory is not used", async () => {
  await seal(`a: ${canary}\n`);
  const env = {
    ...(await editor(`dirname "$1" > ${kws.home}/where; echo "b: 1" >> "$1"`)),
    XDG_RUNTIME_DIR: work,
  };
  await expectCode(0, sops(["edit", secrets], { env }));
  expect(await readFile(join(kws.home, "where"), "utf8")).toMatch(/^\/dev\/shm\//);
});

test("wrong keys, changed and damaged files have sops' exit codes, and stay as they are", async () => {
  const sealed = await seal(`a: ${canary}\nb_unencrypted: 1\n`);
  const other = join(kws.home, "other.txt");
  const made = await kws.run(["secrets", "keygen"], { env: { XDG_CONFIG_HOME: join(kws.home, "other") } });
  expect(made.code).toBe(0);
  await writeFile(other, await readFile(join(kws.home, "other/sops/age/keys.txt")));
  const foreign = { env: { XDG_CONFIG_HOME: "/nowhere", SOPS_AGE_KEY_FILE: other } };
  const cases: [code: number, content: string, options?: RunOptions][] = [
    [128, sealed, { env: { XDG_CONFIG_HOME: "/nowhere" } }],
    [128, sealed, foreign],
    [51, sealed.replace("b_unencrypted: 1", "b_unencrypted: 2")],
    [51, sealed.replace(/^ +mac: .*\n/m, "")],
    [25, sealed.replace("data:", "data:AAAA")],
    [1, sealed.slice(0, sealed.length / 2)],
    [1, `a: 1\n${sealed}`],
    [1, "a: 1\n"],
  ];
  for (const [code, content, options] of cases) {
    await write(secrets, content);
    for (const args of [
      ["decrypt", secrets],
      ["rotate", "--in-place", secrets],
      ["unset", secrets, "a"],
    ]) {
      const { stdout, stderr } = await expectCode(code, sops(args, options));
      expect(stdout + stderr).not.toContain(canary);
    }
    expect(await read(secrets)).toBe(content);
  }
  await expectCode(2, sops(["decrypt", "nothing.yaml"]));
});

test("what cannot be encrypted stays as it is", async () => {
  const sealed = await seal(`a: ${canary}\n`);
  await expectCode(203, sops(["encrypt", "--in-place", secrets]));
  expect(await read(secrets)).toBe(sealed);
  const refused: [code: number, text: string, args?: string[]][] = [
    [1, `a: ${canary}\na: 2\n`],
    [92, ""],
    [1, `a: ${canary}\n`, ["--age", "age1unknown"]],
  ];
  for (const [code, text, args = []] of refused) {
    await write(secrets, text);
    const { stderr } = await expectCode(code, sops(["encrypt", "--in-place", ...args, secrets]));
    expect(stderr).not.toContain(canary);
    expect(await read(secrets)).toBe(text);
  }
  await write(".sops.yaml", "creation_rules:\n  - path_regex: other\n");
  await expectCode(1, sops(["encrypt", secrets]));
  await expectCode(0, sops(["encrypt", "--age", recipient, "--input-type", "binary", secrets]));
});

test("flags say how a file is encrypted where the rules do not, and not both", async () => {
  const input = `user: me\ntoken: ${canary}\n`;
  const flags = [
    "--age",
    recipient,
    "--encrypted-regex",
    "^token$",
    "--mac-only-encrypted",
    "--output-type",
    "json",
  ];
  const named = ["--filename-override", "any.yaml", "-"];
  const { stdout } = await expectCode(0, sops(["encrypt", ...flags, ...named], { input }));
  expect(JSON.parse(stdout)).toMatchObject({
    user: "me",
    token: expect.stringMatching(/^ENC\[/),
    sops: { encrypted_regex: "^token$", mac_only_encrypted: true },
  });
  await write("sealed", stdout.replace("me", "you"));
  const decrypted = await expectCode(
    0,
    sops(["decrypt", "--filename-override", "any.json", "--output-type", "yaml", "sealed"]),
  );
  expect(decrypted.stdout).toBe(input.replace("me", "you"));
  await write(".sops.yaml", `creation_rules:\n  - age: ${recipient}\n    encrypted_suffix: _secret\n`);
  await write(secrets, input);
  await expectCode(8, sops(["encrypt", "--encrypted-regex", "^token$", secrets]));
});

test.runIf(process.getuid?.() === 0)("a full disk leaves the old file, and no plaintext", async () => {
  const disk = join(kws.home, "disk");
  await mkdir(disk);
  await run("mount", ["-t", "tmpfs", "-o", "size=64k", "none", disk], { env: inherited });
  try {
    const path = join(disk, "secrets.yaml");
    await writeFile(path, `a: ${canary}\n`);
    await expectCode(0, sops(["encrypt", "--in-place", "--age", recipient, path]));
    const before = await readFile(path, "utf8");
    await expectCode(3, sops(["set", path, "b"], { input: "x".repeat(60_000) }));
    expect(await readFile(path, "utf8")).toBe(before);
    expect(await readdir(disk)).toEqual(["secrets.yaml"]);
    await seal(`a: ${canary}${"x".repeat(80_000)}\n`);
    const env = { ...(await editor("true")), XDG_RUNTIME_DIR: disk };
    await expectCode(3, sops(["edit", secrets], { env }));
    expect(await readdir(disk)).toEqual(["secrets.yaml"]);
  } finally {
    await run("umount", [disk], { env: inherited });
  }
});

test("recipients follow the creation rules, and a file that cannot be opened leaves the others as they are", async () => {
  const second = "chart/profiles/qa/secrets.json";
  const before = [await seal(`a: ${canary}\n`), await seal(`{"a": "${canary}"}`, second)];
  const another = await kws.run(["secrets", "keygen"], {
    env: { XDG_CONFIG_HOME: join(kws.home, "another") },
  });
  await write(
    ".sops.yaml",
    `creation_rules:\n  - path_regex: secrets\\.\n    age: ${recipient},${another.stdout.trim()}\n`,
  );
  await expectCode(2, sops(["updatekeys", secrets, second]));
  await write(second, before[1]!.slice(0, -100));
  await expectCode(1, sops(["updatekeys", "--yes", secrets, second]));
  expect(await read(secrets)).toBe(before[0]);
  await write(second, before[1]!);
  const { stdout } = await expectCode(0, sops(["updatekeys", "--yes", secrets, second]));
  expect(stdout).toContain(`+ age recipient ${another.stdout.trim()}`);
  const env = { XDG_CONFIG_HOME: join(kws.home, "another") };
  await expectCode(0, sops(["decrypt", second], { env }));
  await expectCode(0, sops(["rotate", "--in-place", "--rm-age", another.stdout.trim(), secrets]));
  await expectCode(128, sops(["decrypt", secrets], { env }));
});

test("git merges encrypted files by their keys, names conflicts, and shows differences without values", async () => {
  const git = async (...args: string[]) => {
    const who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"];
    const env = { ...inherited, HOME: kws.home };
    return run("git", ["-C", work, ...who, ...args], { env }).catch((error: unknown) => error as Error);
  };
  const commit = async () => {
    await git("add", "--all");
    await git("commit", "--quiet", "-m", "x");
  };
  await git("init", "--quiet", "--initial-branch=main");
  await expectCode(0, sops(["install-git"]));
  await seal(`a: ${canary}-a\nb: ${canary}-b\nc: ${canary}-c\n`);
  await commit();
  await git("switch", "--quiet", "-c", "theirs");
  await sops(["set", secrets, "a"], { input: `${canary}-theirs` });
  await sops(["set", secrets, "c"], { input: `${canary}-theirs` });
  await commit();
  const shown = await git("diff", "main", "theirs");
  expect(shown).toMatchObject({ stdout: expect.stringMatching(/-a: <encrypted \w{8}>\n\+a: <encrypted/) });
  expect(JSON.stringify(shown)).not.toContain(canary);
  await git("switch", "--quiet", "main");
  await sops(["set", secrets, "b"], { input: `${canary}-ours` });
  await commit();
  expect(await git("merge", "--quiet", "--no-edit", "theirs")).toMatchObject({ exitCode: 0 });
  expect(JSON.parse((await sops(["decrypt", secrets, "-o", "json"])).stdout)).toEqual({
    a: `${canary}-theirs`,
    b: `${canary}-ours`,
    c: `${canary}-theirs`,
  });
  await git("switch", "--quiet", "theirs");
  await sops(["set", secrets, "b"], { input: `${canary}-other` });
  await commit();
  const refused = await git("merge", "--no-edit", "main");
  expect(refused).toHaveProperty(
    "message",
    expect.stringContaining(`conflict in ${secrets}: both sides changed b; the current side's is kept`),
  );
  expect(JSON.stringify(await git("diff", "--name-only", "--diff-filter=U"))).toContain(secrets);
  expect((await sops(["get", secrets, "b"])).stdout).toBe(`${canary}-other`);
  await git("merge", "--abort");
});

test("after all of this no plaintext is left", async () => {
  await rm(work, { recursive: true });
  expect(await filesWith(canary, kws.home)).toEqual([]);
  expect(editing()).toEqual([]);
});
