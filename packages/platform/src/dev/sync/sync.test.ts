/** Both sides are folders of this machine; the far side's commands run in a shell of this machine. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import {
  chmod,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { processRemote } from "./remote.ts";
import { absolute } from "./scan.ts";
import { makePair, type Pair, picture } from "./testing/pair.ts";
import type { Sync } from "./sync.ts";

const eventually = { timeout: 10_000, interval: 50 };

/** What changed there is taken over once its clock shows another second. */
async function convergence(pair: Pair, sync: Sync): Promise<void> {
  await vi.waitFor(async () => {
    await sync.flush();
    expect(picture(pair.near)).toEqual(picture(pair.far));
  }, eventually);
}

test("files of any name, folders, links and permissions arrive, and what is left out does not", async () => {
  await using pair = await makePair();
  await mkdir(join(pair.near, "a/empty"), { recursive: true });
  await mkdir(join(pair.near, "node_modules/x"), { recursive: true });
  await writeFile(join(pair.near, "node_modules/x/index.js"), "no");
  await writeFile(join(pair.near, "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(join(pair.near, "a/large"), Buffer.alloc(3_000_001, "large "));
  await writeFile(join(pair.near, `${"long ".repeat(40)}name`), "long");
  await symlink("../a", join(pair.near, "a/link"));
  await symlink(`${"long/".repeat(40)}target`, join(pair.near, "long-link"));
  const odd = ["-rf", "new\nline", "ends\n", "'quote\" $HOME`", " spaces ", "back\\slash", "\xff\xfe", "*"];
  for (const name of odd) writeFileSync(absolute(pair.near, name), name);
  await using _sync = await running(pair);
  const there = picture(pair.far);
  expect(there).toEqual(picture(pair.near, /^node_modules/));
  expect(Object.keys(there)).toEqual(expect.arrayContaining([...odd, "a/empty", "a/large"]));
  expect(pair.batches).toMatchObject([{ direction: "up", initial: true, removed: [] }]);
});

async function running(pair: Pair): Promise<AsyncDisposable> {
  const sync = await pair.start();
  return { [Symbol.asyncDispose]: () => sync.stop() };
}

test("at the start only what differs is sent, and what is there alone stays", async () => {
  await using pair = await makePair();
  for (const side of [pair.near, pair.far]) {
    await writeFile(join(side, "same"), "same content");
    await writeFile(join(side, "differs"), side === pair.near ? "here!" : "there");
  }
  for (const name of ["same", "differs"]) await utimes(join(pair.far, name), 0, 0);
  await writeFile(join(pair.far, "generated"), "there alone");
  await mkdir(join(pair.far, "now-a-file/below"), { recursive: true });
  await writeFile(join(pair.near, "now-a-file"), "file");
  const sync = await pair.start();
  expect(await sync.ready).toMatchObject({ paths: ["differs", "now-a-file"], bytes: 9 });
  expect(picture(pair.far)).toMatchObject({ differs: "file here!", "now-a-file": "file file" });
  await writeFile(join(pair.far, "generated"), "and changed since");
  await vi.waitFor(async () => {
    await sync.flush();
    expect(await readFile(join(pair.near, "generated"), "utf8")).toBe("and changed since");
  }, eventually);
});

test("what changes here is there after a flush", async () => {
  await using pair = await makePair();
  await mkdir(join(pair.near, "src/deep"), { recursive: true });
  await writeFile(join(pair.near, "src/deep/a.js"), "1");
  await mkdir(join(pair.near, "src/modules/node_modules"), { recursive: true });
  const sync = await pair.start({ direction: "up" });
  const steps: (() => Promise<unknown>)[] = [
    () => writeFile(join(pair.near, "src/deep/a.js"), "2"),
    () =>
      writeFile(join(pair.near, "src/a.tmp"), "3").then(() =>
        rename(join(pair.near, "src/a.tmp"), join(pair.near, "src/deep/a.js")),
      ),
    () => chmod(join(pair.near, "src/deep/a.js"), 0o755),
    () => rename(join(pair.near, "src"), join(pair.near, "lib")),
    () => writeFile(join(pair.near, "lib/deep/b.js"), "new in a folder that was renamed"),
    () => rm(join(pair.near, "lib/deep"), { recursive: true }),
    () => writeFile(join(pair.near, "lib/deep"), "a file in the place of a folder"),
    () =>
      rm(join(pair.near, "lib/deep")).then(() => mkdir(join(pair.near, "lib/deep/er"), { recursive: true })),
    () => symlink("deep", join(pair.near, "lib/link")),
  ];
  for (const step of steps) {
    await step();
    await sync.flush();
    expect(picture(pair.far)).toEqual(picture(pair.near, /node_modules/));
  }
  expect(pair.problems).toEqual([]);
});

test("a checkout of thousands of files arrives as a whole", { timeout: 60_000 }, async () => {
  await using pair = await makePair();
  // Nothing else has a turn in the meantime.
  const checkout = (branch: string, without: number): void => {
    for (let folder = 0; folder < 30; folder++) {
      const path = join(pair.near, String(folder));
      if (folder === without) rmSync(path, { recursive: true, force: true });
      else mkdirSync(path, { recursive: true });
      if (folder === without) continue;
      for (let file = 0; file < 50; file++) writeFileSync(join(path, `${branch}${file % 40}`), branch);
      writeFileSync(join(path, "common"), branch);
    }
  };
  checkout("main", 7);
  const sync = await pair.start({ direction: "up" });
  checkout("topic", 8);
  await sync.flush();
  expect(picture(pair.far)).toEqual(picture(pair.near));
  expect(pair.batches.length).toBeLessThan(5);
});

test("changes there come here, and a removal does too", async () => {
  await using pair = await makePair();
  await writeFile(join(pair.near, "kept"), "1");
  await writeFile(join(pair.near, "lock.json"), "1");
  await writeFile(join(pair.near, "old"), "1");
  const sync = await pair.start();
  await writeFile(join(pair.far, "lock.json"), "22");
  await mkdir(join(pair.far, "generated/empty"), { recursive: true });
  await writeFile(join(pair.far, "generated/client.js"), "x", { mode: 0o755 });
  await symlink("client.js", join(pair.far, "generated/link"));
  await rm(join(pair.far, "old"));
  await convergence(pair, sync);
  expect(Object.keys(picture(pair.near))).toEqual([
    "generated",
    "generated/client.js",
    "generated/empty",
    "generated/link",
    "kept",
    "lock.json",
  ]);
  expect((await stat(join(pair.near, "generated/client.js"))).mode & 0o111).not.toBe(0);
  expect(pair.batches.some(({ direction, removed }) => direction === "down" && removed.includes("old"))).toBe(
    true,
  );
});

test("a file that is rewritten there in the second that it arrived in is noticed", async () => {
  await using pair = await makePair();
  const sync = await pair.start();
  await writeFile(join(pair.near, "a.js"), "a = 'a'");
  await sync.flush();
  const sent = await stat(join(pair.far, "a.js"));
  await writeFile(join(pair.far, "a.js"), 'a = "a"');
  // As if it were the same second, whenever that was.
  await utimes(join(pair.far, "a.js"), sent.mtime, sent.mtime);
  await vi.waitFor(async () => {
    await sync.flush();
    expect(await readFile(join(pair.near, "a.js"), "utf8")).toBe('a = "a"');
  }, eventually);
});

test.each([
  ["local", "here", "there"],
  ["remote", "there", "here"],
] as const)(
  "where both changed, the %s version stays and the other is kept beside",
  async (prefer, stays, beside) => {
    await using pair = await makePair();
    await writeFile(join(pair.near, "file"), "base");
    await writeFile(join(pair.near, "removed"), "base");
    const sync = await pair.start({ prefer });
    // In one turn: the synchronisation sees both or none.
    writeFileSync(join(pair.near, "file"), "here");
    writeFileSync(join(pair.far, "file"), "there");
    await convergenceOf(pair, sync, { file: `file ${stays}` });
    expect(await readFile(join(pair.near, "file.kws-conflict"), "utf8")).toBe(beside);
    expect(sync.status().conflicts).toEqual(["file.kws-conflict"]);
  },
);

async function convergenceOf(pair: Pair, sync: Sync, expected: Record<string, string>): Promise<void> {
  await vi.waitFor(async () => {
    await sync.flush();
    expect(picture(pair.near)).toMatchObject(expected);
    expect(picture(pair.far)).toMatchObject(expected);
  }, eventually);
}

test("a folder that was emptied over there does not empty the one here", async () => {
  await using pair = await makePair();
  await mkdir(join(pair.near, "src"));
  for (let count = 0; count < 3; count++) await writeFile(join(pair.near, `src/${count}`), "x");
  const sync = await pair.start();
  await rename(join(pair.far, "src"), `${pair.far}-elsewhere`);
  await expect(sync.ended).rejects.toThrow(/4 of 4 synchronised files vanished/);
  expect(Object.keys(picture(pair.near))).toHaveLength(4);
  expect(sync.status().state).toBe("stopped");
  await using _again = await running(pair);
  expect(picture(pair.far)).toEqual(picture(pair.near));
});

test("what cannot be looked at there is not taken for removed", async () => {
  await using pair = await makePair();
  for (const name of ["a", "b"]) await mkdir(join(pair.near, name));
  for (const name of ["a/1", "b/1", "b/2"]) await writeFile(join(pair.near, name), "x");
  // Fails as find does for a folder that it may not read, which it always may as root.
  const tools = join(pair.near, "../tools");
  await mkdir(tools);
  const broken = join(pair.near, "../broken");
  const real = process.env["PATH"] ?? "";
  const find = `#!/bin/sh\nPATH='${real}'\n[ -e '${broken}' ] || exec find "$@"\nfind a "$@"\nexit 1\n`;
  await writeFile(join(tools, "find"), find.replace('find a "$@"', 'shift; find ./a "$@"'), { mode: 0o755 });
  const sync = await pair.start({
    remote: {
      name: "container test",
      open: ([file, ...args]) => processRemote(file ?? "", args, { PATH: `${tools}:${real}` }),
    },
  });
  await writeFile(broken, "");
  await writeFile(join(pair.far, "a/2"), "new");
  await vi.waitFor(async () => {
    await sync.flush();
    expect(picture(pair.near)).toHaveProperty(["a/2"]);
  }, eventually);
  expect(picture(pair.near)).toHaveProperty(["b/1"]);
  await rm(join(pair.far, "b/1"));
  await rm(broken);
  await convergence(pair, sync);
  expect(picture(pair.near)).not.toHaveProperty(["b/1"]);
});

test("a folder that vanishes here ends the synchronisation and removes nothing there", async () => {
  await using pair = await makePair();
  await writeFile(join(pair.near, "file"), "x");
  const sync = await pair.start();
  await rename(pair.near, `${pair.near}-moved`);
  await mkdir(pair.near);
  await expect(sync.ended).rejects.toThrow(/is not there/);
  expect(picture(pair.far)).toEqual({ file: "file x" });
});

test("after the container's restart both sides are compared anew", async () => {
  await using pair = await makePair();
  await writeFile(join(pair.near, "file"), "1");
  await writeFile(join(pair.near, "removed-later"), "1");
  const sync = await pair.start();
  await rm(join(pair.near, "removed-later"));
  await writeFile(join(pair.near, "file"), "edited");
  await sync.flush();
  // Another folder with the image's content, and no connection.
  await rename(pair.far, `${pair.far}-before`);
  await mkdir(pair.far);
  await writeFile(join(pair.far, "file"), "1");
  await writeFile(join(pair.far, "of-the-image"), "1");
  pair.shells[0]?.kill();
  await vi.waitFor(async () => {
    await sync.flush();
    expect(picture(pair.far)).toEqual({ file: "file edited", "of-the-image": "file 1" });
  }, eventually);
  expect(pair.shells.length).toBeGreaterThan(1);
  expect(picture(pair.near)).toEqual({ file: "file edited" });
});

test("a connection that is lost loses nothing", async () => {
  await using pair = await makePair();
  const sync = await pair.start();
  pair.shells[0]?.kill();
  await writeFile(join(pair.near, "here"), "1");
  await writeFile(join(pair.far, "there"), "1");
  await convergence(pair, sync);
  expect(picture(pair.near)).toEqual({ here: "file 1", there: "file 1" });
});

test("a link of the container that leads out of the folder is refused, and nothing is written through one", async () => {
  await using pair = await makePair();
  const outside = join(pair.near, "../outside");
  await mkdir(outside);
  await writeFile(join(outside, "secret"), "secret");
  const sync = await pair.start();
  await mkdir(join(pair.far, "a/b"), { recursive: true });
  await symlink(outside, join(pair.far, "absolute"));
  await symlink("../outside", join(pair.far, "climbs"));
  await symlink("../../outside", join(pair.far, "a/climbs"));
  await symlink(".", join(pair.far, "a/b/self"));
  await symlink("b/self/../../../outside", join(pair.far, "a/winds"));
  await symlink("../b", join(pair.far, "a/fine"));
  await vi.waitFor(async () => {
    await sync.flush();
    expect(pair.problems.map(({ path }) => path ?? "").toSorted()).toEqual([
      "a/climbs",
      "a/winds",
      "absolute",
      "climbs",
    ]);
    expect(await readlink(join(pair.near, "a/fine"))).toBe("../b");
  }, eventually);
  // The person at this machine has a link that leads out; the container has a folder there.
  await symlink(outside, join(pair.near, "mine"));
  await sync.flush();
  await rm(join(pair.far, "mine"));
  await mkdir(join(pair.far, "mine"));
  await writeFile(join(pair.far, "mine/secret"), "overwritten");
  await vi.waitFor(async () => {
    await sync.flush();
    expect(await readFile(join(pair.near, "mine/secret"), "utf8")).toBe("overwritten");
  }, eventually);
  expect(await readFile(join(outside, "secret"), "utf8")).toBe("secret");
});

test("what cannot be written there is told, with its path, and arrives when it can be", async () => {
  await using pair = await makePair();
  const sync = await pair.start({ direction: "up" });
  await mkdir(join(pair.far, "taken/by-a-folder"), { recursive: true });
  await writeFile(join(pair.near, "taken"), "x");
  await writeFile(join(pair.near, "fine"), "x");
  await sync.flush();
  expect(pair.problems).toMatchObject([
    { path: "taken", message: expect.stringContaining("taken did not arrive") },
  ]);
  expect(sync.status()).toMatchObject({ pending: 1, problems: [{ path: "taken" }] });
  expect(picture(pair.far)).toMatchObject({ fine: "file x" });
  await rm(join(pair.far, "taken"), { recursive: true });
  await vi.waitFor(() => {
    expect(picture(pair.far)).toMatchObject({ taken: "file x" });
    expect(sync.status()).toMatchObject({ pending: 0, problems: [] });
  }, eventually);
});

test("an image without a shell, or without its tools, says what to do", async () => {
  await using pair = await makePair();
  const start = (script: string, env: NodeJS.ProcessEnv) =>
    pair.start({
      remote: {
        name: "container web",
        open: ([, ...rest]) => processRemote("/bin/sh", script === "" ? rest : ["-c", script], env),
      },
    });
  const noShell = `echo 'exec: "sh": executable file not found in $PATH' >&2; exit 126`;
  await expect(start(noShell, {})).rejects.toMatchObject({
    message: expect.stringContaining(
      "container web: files cannot be synchronised, since its image has no a shell",
    ),
    fix: expect.stringContaining("dev.image"),
  });
  await expect(start("", { PATH: "/nowhere" })).rejects.toThrow(/no find, stat, xargs, tar/);
});

test("a process that reads from here leaves nothing behind when it is stopped", async () => {
  await using pair = await makePair();
  const sync = await pair.start();
  await sync.stop();
  const [shell] = pair.shells;
  await shell?.ended;
  await writeFile(join(pair.near, "later"), "x");
  await expect(sync.flush()).resolves.toBeUndefined();
  expect(picture(pair.far)).toEqual({});
});
