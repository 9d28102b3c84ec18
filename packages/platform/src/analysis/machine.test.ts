/** Conditions that are really so: a port that is held, a folder that cannot be written, and kernel files of a folder of our own. */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, symlink } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { analyze } from "./analyze.ts";
import { eventFinding } from "./files.ts";
import { diskFinding } from "./machine.ts";
import { boundFinding, namesFinding } from "./network.ts";
import { overlayFinding } from "./sandbox.ts";
import { lines, run, subjectIn, writeFiles } from "./testing/subject.ts";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir("kws-analyze");
});
afterEach(() => dir[Symbol.asyncDispose]());

const signal = AbortSignal.timeout(30_000);

test("a port that is held is told with who holds it, and one that is free is bound and let go", async () => {
  const server = createServer().listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const taken = await boundFinding(port, "/proc");
  expect(taken.severity).toBe("warning");
  expect(taken.message).toContain(`port ${port} is taken`);
  const holder = process.platform === "linux" ? ` (process ${process.pid})` : "";
  expect(taken.message).toContain(holder);
  server.close();
  await once(server, "close");
  expect(await boundFinding(port, "/proc")).toMatchObject({ severity: "ok" });
  expect(await boundFinding(port, "/proc")).toMatchObject({ severity: "ok" });
});

test("names of localhost that lead nowhere, to IPv6 alone, or to somebody else", () => {
  const severity = (...addresses: string[]) => namesFinding("a.localhost", addresses).severity;
  expect(severity()).toBe("info");
  expect(severity("::1", "127.0.0.1")).toBe("ok");
  expect(severity("::1")).toBe("warning");
  expect(severity("127.0.0.1", "203.0.113.7")).toBe("error");
});

test("a written file's event comes, and nothing of it is left", async () => {
  expect(await eventFinding(dir.path, signal)).toMatchObject({ severity: "ok", where: dir.path });
  expect(await readdir(dir.path)).toEqual([]);
});

test("folders in which nothing can be made are errors, and missing ones are made by --fix alone", async () => {
  await writeFiles(dir.path, { file: "" });
  const places = (data: string) => ({ data, cache: dir.path, config: dir.path });
  const closed = await run(
    subjectIn(dir.path, { locations: places(join(dir.path, "file/data")) }),
    "folders",
  );
  expect(lines(closed, dir.path)).toEqual([
    expect.stringMatching(/^error file\/data: .*file cannot be written/),
  ]);
  const missing = subjectIn(dir.path, { locations: places(join(dir.path, "deep/data")) });
  const found = await run(missing, "folders");
  expect(found.findings).toMatchObject([{ severity: "info", fixable: true }]);
  expect(await readdir(dir.path)).toEqual(["file"]);
  await analyze(missing, { only: ["folders"], skip: [], fix: true, now: () => 0 });
  expect(existsSync(join(dir.path, "deep/data"))).toBe(true);
});

test("too little disk, and too few files", () => {
  const room = (bytes: number, free = 1e6) => diskFinding("/", { bytes, files: { all: 1e6, free } }).severity;
  expect(room(100e6)).toBe("error");
  expect(room(2e9)).toBe("warning");
  expect(room(50e9)).toBe("ok");
  expect(room(50e9, 10)).toBe("warning");
  expect(diskFinding("/", { bytes: 50e9, files: { all: 0, free: 0 } }).severity).toBe("ok");
});

test("memory is what the kernel says is available", async () => {
  const severity = async (kilobytes: number) => {
    await writeFiles(dir.path, { "proc/meminfo": `MemTotal: 9999999 kB\nMemAvailable: ${kilobytes} kB\n` });
    const { findings } = await run(subjectIn(dir.path, { proc: join(dir.path, "proc") }), "memory");
    return findings[0]?.severity;
  };
  expect(await severity(100_000)).toBe("error");
  expect(await severity(500_000)).toBe("warning");
  expect(await severity(4_000_000)).toBe("ok");
});

test("inotify: what the workspace's folders take against what is left of the limits", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a]\n",
    "a/kws.yaml": "name: a\n",
    "a/src/deep/x.js": "",
    "a/node_modules/left/out/x.js": "",
    "proc/sys/fs/inotify/max_user_watches": "100\n",
    "proc/sys/fs/inotify/max_user_instances": "128\n",
    "proc/4711/fdinfo/5": `pos: 0\n${"inotify wd:1 ino:1\n".repeat(98)}`,
  });
  await mkdir(join(dir.path, "proc/4711/fd"));
  await symlink("anon_inode:inotify", join(dir.path, "proc/4711/fd/5"));
  const told = async () => {
    const subject = subjectIn(dir.path, { proc: join(dir.path, "proc"), platform: "linux" });
    return lines(await run(subject, "inotify-limits"), dir.path);
  };
  // `a` itself, `src` and `deep`: 3 folders, and 2 watches are free.
  expect(await told()).toEqual([
    expect.stringMatching(/^error the workspace has 3 source folders.* 2 of 100/),
  ]);
  await writeFiles(dir.path, {
    "proc/sys/fs/inotify/max_user_watches": "8192\n",
    "proc/sys/fs/inotify/max_user_instances": "1\n",
  });
  expect(await told()).toEqual([expect.stringMatching(/^error 1 of 1 inotify instances are in use/)]);
});

test("a proxy is told where names of this machine would be sent to it, without its credentials", async () => {
  const HTTPS_PROXY = "http://me:hunter2@proxy.example.com:3128";
  const told = async (env: NodeJS.ProcessEnv) =>
    JSON.stringify((await run(subjectIn(dir.path, { env }), "proxies")).findings);
  expect(await told({})).toBe("[]");
  const bad = await told({ HTTPS_PROXY, NO_PROXY: "127.0.0.1" });
  expect(bad).toContain("NO_PROXY lacks localhost, .localhost");
  expect(bad).not.toContain("hunter2");
  expect(await told({ HTTPS_PROXY, NO_PROXY: "localhost,127.0.0.1" })).toContain('"ok"');
});

test("where no overlay can be tried, nothing is claimed", async () => {
  await writeFiles(dir.path, { "bin/unshare": "" });
  const env = { PATH: join(dir.path, "bin") };
  expect(await overlayFinding(dir.path, env, signal)).toMatchObject({ severity: "info" });
  expect(await readdir(dir.path)).toEqual(["bin"]);
});
