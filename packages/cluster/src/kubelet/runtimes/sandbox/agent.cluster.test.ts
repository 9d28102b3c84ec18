import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { identify, isAlive } from "@kws/base/process";
import { expect, test } from "vitest";
import { groupNameOf } from "./cgroups.ts";
import { describeSandbox, until } from "../../testing/runtime-harness.ts";

describeSandbox("Lifetimes", (h) => {
  const { exec, logOf, connect } = h;

  test("containers and their logs outlive a daemon that is killed, and the next one finds them", async () => {
    await h.started.stop();
    const argv = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];
    const spec = h.fixture.container("survivor", "lasting", argv);
    const options = { dataDir: join(h.fixture.folder, "data"), user: h.user };
    const daemon = spawn(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `const { startSandboxRuntime } = await import(process.argv[1]);
        const [options, pod, spec] = JSON.parse(process.argv[2]); const logger = { info() {}, warn() {} };
        const { runtime } = await startSandboxRuntime({ ...options, logger });
        await runtime.runPodSandbox(pod); await runtime.startContainer(spec); console.log("up");`,
        join(import.meta.dirname, "start.ts"),
        JSON.stringify([options, h.fixture.pod("lasting"), spec]),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await once(daemon.stdout, "data");
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
    const before = logOf("survivor").length;
    await until(() => logOf("survivor").length > before + 50);
    await connect();
    expect(h.started.adopted).toBe(true);
    expect(await h.runtime.listPodSandboxes()).toMatchObject([
      { id: "lasting", name: "lasting", namespace: "default" },
    ]);
    expect((await h.runtime.listContainers()).find(({ id }) => id === "survivor")?.state).toBe("running");
    expect((await exec("survivor", ["sh", "-c", "exit 2"])).code).toBe(2);
    const numbers = [...logOf("survivor").matchAll(/^stdout F (\d+)$/gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });

  test("what ran in an agent that was killed is found as killed, with nothing left behind", async () => {
    const { pid } = h.started;
    const agent = identify(pid) ?? { pid, startTicks: 0 };
    process.kill(pid, "SIGKILL");
    await h.started.closed;
    await until(() => !isAlive(agent));
    await connect();
    expect(h.started.adopted).toBe(false);
    expect(await h.runtime.listPodSandboxes()).toEqual([]);
    expect((await h.runtime.listContainers()).find(({ id }) => id === "survivor")).toMatchObject({
      state: "exited",
      exitCode: 137,
    });
    await h.runtime.runPodSandbox(h.fixture.pod("pod"));
  });

  test("the end of the agent leaves no process, mount, file of its own or control group", async () => {
    await h.runtime.startContainer(
      h.fixture.container("last", "pod", ["sleep", "1000"], { limits: { memory: 64e6, cpu: 0.5 } }),
    );
    const { pid } = h.started;
    const agent = identify(pid) ?? { pid, startTicks: 0 };
    expect(isAlive(agent)).toBe(true);
    await h.started.stop();
    expect(isAlive(agent)).toBe(false);
    const left = readdirSync("/proc").filter(
      (entry) => /^\d+$/.test(entry) && commandOf(entry).includes(h.fixture.folder),
    );
    expect(left).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(h.fixture.folder);
    expect(readdirSync(join(h.fixture.folder, "data")).sort()).toEqual([
      "addresses.json",
      "agent.log",
      "containers",
      "tools",
    ]);
    const group = groupNameOf(join(h.fixture.folder, "data"));
    for (const controller of ["", "memory", "cpu", "pids"])
      expect(groups(controller).filter((path) => path.endsWith(group))).toEqual([]);
    await connect();
  });
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** The clusters' control groups on this machine, at any depth of version 1 or 2. */
function groups(controller: string): string[] {
  const root = join("/sys/fs/cgroup", controller);
  if (!existsSync(root) || !statSync(root).isDirectory()) return [];
  const found: string[] = [];
  const visit = (folder: string, depth: number) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      if (/^kws-[0-9a-f]{12}$/.test(entry.name)) found.push(join(folder, entry.name));
      else if (depth > 0) visit(join(folder, entry.name), depth - 1);
    }
  };
  visit(root, 3);
  return found;
}
