/** The script of process 1, run by real shells. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readSupervisor, supervised } from "./supervisor.ts";

let folder: string;
let running: ChildProcess[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-supervisor-"));
  running = [];
});
afterEach(async () => {
  for (const child of running.filter(
    ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
  )) {
    child.kill("SIGTERM");
    await once(child, "exit");
  }
  await rm(folder, { recursive: true });
});

/** Its lines one after another, and its process. */
function start(shell: string, command: string[], begin: "now" | "later" = "now") {
  const [, ...args] = supervised(command, begin, folder);
  const child = spawn(shell, args, { stdio: ["ignore", "pipe", "inherit"], env: process.env });
  running.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  return { child, next, restart: () => child.kill("SIGHUP") };
}

const shells = ["/bin/dash", "/bin/bash", "/bin/busybox"].filter((path) => existsSync(path));

describe.each(shells)("with %s", (shell) => {
  test("the command is started again when told, with what it started itself", async () => {
    const app = join(folder, "app.sh");
    await writeFile(app, "sleep 1000 & echo first $!; wait");
    const { next, restart } = start(shell, ["sh", app]);
    expect(await next()).toBe("kws: started");
    const [, grandchild] = (await next()).split(" ");
    await writeFile(app, "echo second; exec sleep 1000");
    restart();
    expect(await next()).toBe("kws: started");
    expect(await next()).toBe("second");
    expect(existsSync(`/proc/${grandchild}/status`) && (await state(grandchild))).not.toBe("S");
  });

  test("a crash leaves it waiting, and the next change starts the command again", async () => {
    const app = join(folder, "app.sh");
    await writeFile(app, "exit 3");
    const { next, restart } = start(shell, ["sh", app]);
    expect(await next()).toBe("kws: started");
    expect(readSupervisor(await next())).toEqual({ kind: "ended", exitCode: 3 });
    await writeFile(app, "echo mended; exec sleep 1000");
    restart();
    expect(await next()).toBe("kws: started");
    expect(await next()).toBe("mended");
  });

  test("a command that does not heed SIGTERM is killed", async () => {
    const app = join(folder, "app.sh");
    await writeFile(app, "trap '' TERM; echo deaf; while :; do sleep 1; done");
    const { next, restart } = start(shell, ["sh", app]);
    await next();
    await next();
    await writeFile(app, "echo replaced; exec sleep 1000");
    restart();
    expect(await next()).toBe("kws: started");
    expect(await next()).toBe("replaced");
  });

  test("it ends when it is told to, and the command before it", async () => {
    const app = join(folder, "app.sh");
    await writeFile(app, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done");
    const { child, next } = start(shell, ["sh", app]);
    await next();
    await next();
    child.kill("SIGTERM");
    expect(await next()).toBe("bye");
    const [code] = (await once(child, "exit")) as [number];
    expect(code).toBe(0);
  });

  test("restarts that come close together leave one process, with the last content", async () => {
    const app = join(folder, "app.sh");
    await writeFile(app, "exec sleep 1000");
    const { next, restart } = start(shell, ["sh", app]);
    await next();
    for (let i = 0; i < 20; i++) restart();
    await writeFile(app, "echo last; exec sleep 1000");
    restart();
    let line = await next();
    while (line === "kws: started") line = await next();
    expect(line).toBe("last");
  });

  test("before the first files are there it waits for a restart", async () => {
    const { next, restart } = start(shell, ["sh", "-c", "echo begun; exec sleep 1000"], "later");
    expect(readSupervisor(await next())).toEqual({ kind: "waiting" });
    restart();
    expect(readSupervisor(await next())).toEqual({ kind: "started" });
    expect(await next()).toBe("begun");
  });
});

test("arguments reach the command as they are", async () => {
  const { next } = start("sh", ["printf", "%s|%s\n", "$HOME `x`", 'a\'b "c"']);
  await next();
  expect(await next()).toBe('$HOME `x`|a\'b "c"');
});

test("lines of the command's own are not the supervisor's", () => {
  expect(readSupervisor("kws: hello")).toBeUndefined();
  expect(readSupervisor("started")).toBeUndefined();
});

async function state(pid: string | undefined): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return /^State:\s+(\w)/m.exec(text)?.[1];
}
