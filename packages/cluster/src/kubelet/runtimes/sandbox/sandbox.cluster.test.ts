import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  chownSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { silent } from "@kws/base/logger";
import { identify, isAlive } from "@kws/base/process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Container, ContainerSpec, ExecSpec, Mount, Runtime } from "../../runtime.ts";
import { isRoot, ordinaryUser } from "../../testing/ordinary-user.ts";
import { makeFixture, type Fixture } from "../../testing/sandbox-fixture.ts";
import { startSandboxRuntime, type SandboxRuntime } from "./start.ts";

const users: { title: string; user?: { uid: number; gid: number } }[] = [
  { title: isRoot ? "root" : "this user" },
  ...(ordinaryUser === undefined ? [] : [{ title: "an ordinary user", user: ordinaryUser }]),
];

describe.each(users)("the sandbox runtime of $title", ({ user }) => {
  let fixture: Fixture;
  let sandbox: SandboxRuntime;
  let runtime: Runtime;
  let exits: Map<string, Container>;
  let wake: () => void = () => undefined;
  let serial = 0;
  const rootless = user !== undefined || !isRoot;

  beforeAll(async () => {
    fixture = await makeFixture(user);
    const dataDir = join(fixture.folder, "data");
    mkdirSync(dataDir);
    if (user) chownSync(dataDir, user.uid, user.gid);
    await connect();
    await runtime.runPodSandbox(fixture.pod("pod"));
  });

  afterAll(async () => {
    await sandbox.stop();
    rmSync(fixture.folder, { recursive: true, force: true });
  });

  async function connect(): Promise<void> {
    sandbox = await startSandboxRuntime({ dataDir: join(fixture.folder, "data"), logger: silent, user });
    runtime = sandbox.runtime;
    exits = new Map();
    runtime.onExit((container) => {
      exits.set(container.id, container);
      wake();
    });
  }

  async function exitOf(id: string): Promise<Container> {
    for (;;) {
      const container = exits.get(id);
      if (container) return container;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  async function run(argv: string[], changes?: Partial<ContainerSpec>) {
    const id = `c${++serial}`;
    await runtime.startContainer(fixture.container(id, "pod", argv, changes));
    const container = await exitOf(id);
    return { code: container.exitCode, log: logOf(id), container };
  }

  const logOf = (id: string) =>
    readFileSync(join(fixture.folder, "logs", `${id}.log`), "utf8").replaceAll(
      /^\S+ (stdout|stderr) ([FP]) /gm,
      "$1 $2 ",
    );

  async function exec(id: string, argv: string[], input?: string, changes?: Partial<ExecSpec>) {
    const session = await runtime.exec(id, { argv, tty: false, stdin: input !== undefined, ...changes });
    if (input !== undefined) session.stdin.end(input);
    const [stdout, stderr, code] = await Promise.all([
      text(session.stdout),
      text(session.stderr),
      session.exit,
    ]);
    return { stdout, stderr, code };
  }

  test("a container's output is logged in the CRI format, partial lines as such, and its exit code kept", async () => {
    const { code, log } = await run([
      "sh",
      "-c",
      "echo one; echo two >&2; echo three >/dev/stderr; printf rest; exit 7",
    ]);
    expect(code).toBe(7);
    expect(log.split("\n").sort()).toEqual([
      "",
      "stderr F three",
      "stderr F two",
      "stdout F one",
      "stdout P rest",
    ]);
    const raw = readFileSync(join(fixture.folder, "logs", `c${serial}.log`), "utf8");
    expect(raw).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F one$/m);
  });

  test("the environment arrives as it is, whatever its names and values", async () => {
    const env = {
      PLAIN: "x",
      name: "n",
      LINES2: "a\nb\\n\n",
      "dotted.name": "d",
      LD_LIBRARY_PATH: "/none",
      QUOTE: `'"$(id)`,
    };
    const { log } = await run(
      ["sh", "-c", `printf '%s|' "$PLAIN" "$name" "$LINES2" "$LD_LIBRARY_PATH" "$QUOTE"`],
      { env },
    );
    expect(log.replaceAll(/^stdout [FP] /gm, "")).toContain(`x|n|a\nb\\n\n|/none|'"$(id)|`);
    const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const given = (await run(["cat", "/proc/self/environ"], { env: { "dotted.name": "d", A: "b" } })).log;
    expect(given.replace("stdout P ", "").trimEnd().split("\0").sort()).toEqual([
      "",
      "A=b",
      "HOSTNAME=pod",
      path,
      "dotted.name=d",
    ]);
  });

  test("a program that does not exist is a start error in the familiar words", async () => {
    const start = (argv: string[]) => runtime.startContainer(fixture.container(`c${++serial}`, "pod", argv));
    await expect(start(["foo"])).rejects.toMatchObject({
      name: "ContainerStartError",
      reason: "RunContainerError",
      message: expect.stringContaining('exec: "foo": executable file not found in $PATH') as string,
    });
    await expect(start(["/bin/foo"])).rejects.toThrow(
      'exec: "/bin/foo": stat /bin/foo: no such file or directory',
    );
    await expect(start(["/etc"])).rejects.toThrow('exec: "/etc": permission denied');
    expect((await runtime.listContainers()).map(({ id }) => id)).not.toContain(`c${serial}`);
  });

  test("a process runs as the asked user, without privileges, and owns what it writes", async () => {
    const argv = [
      "sh",
      "-c",
      "id -u; id -g; touch /tmp/mine && ls -n /tmp/mine; while read -r k v; do case $k in CapEff:|NoNewPrivs:) echo $k $v;; esac; done </proc/self/status; echo err >/dev/stderr",
    ];
    const folder = join(fixture.folder, `volume${++serial}`);
    mkdirSync(folder, { mode: 0o777 });
    if (user) chownSync(folder, user.uid, user.gid);
    else if (isRoot) chownSync(folder, 1234, 1234);
    const mounts: Mount[] = [{ type: "bind", source: folder, target: "/tmp", readOnly: false }];
    const { log } = await run(argv, {
      user: { uid: 1234, gid: 1234, additionalGids: [] },
      allowPrivilegeEscalation: false,
      mounts,
    });
    expect(log).toMatch(/F 1234\nstdout F 1234\nstdout F -rw-r--r-- 1 1234 1234 /);
    expect(log).toContain("CapEff: 0000000000000000\n");
    expect(log).toContain("NoNewPrivs: 1\n");
    expect(log).toContain("stderr F err\n");
  });

  test("root in a container has containerd's default capabilities but MKNOD, less the dropped ones", async () => {
    const argv = ["sh", "-c", "while read -r k v; do [ $k != CapEff: ] || echo $v; done </proc/self/status"];
    expect((await run(argv)).log).toBe("stdout F 00000000a00425fb\n");
    expect((await run(argv, { capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"] } })).log).toBe(
      "stdout F 0000000000000400\n",
    );
  });

  test("a single file is mounted into a folder that the image does not have", async () => {
    const source = join(fixture.folder, "app.conf");
    writeFileSync(source, "level=1\n");
    const { code, log } = await run(["sh", "-c", "cat /etc/myapp/conf.d/app.conf"], {
      mounts: [{ type: "bind", source, target: "/etc/myapp/conf.d/app.conf", readOnly: true }],
    });
    expect([code, log]).toEqual([0, "stdout F level=1\n"]);
  });

  test("a read-only root file system refuses writes but for its volumes", async () => {
    const { code, log } = await run(
      ["sh", "-c", "touch /x 2>/dev/null && echo written; touch /v/x && exit 3"],
      {
        readOnlyRootFilesystem: true,
        mounts: [{ type: "tmpfs", target: "/v", sizeBytes: 4096 }],
      },
    );
    expect([code, log]).toEqual([3, ""]);
  });

  test("files and folders are mounted, nested ones too, read-only ones as such", async () => {
    const folder = join(fixture.folder, `volume${++serial}`);
    mkdirSync(folder, { mode: 0o777 });
    writeFileSync(join(folder, "file"), "content\n");
    if (user) chownSync(folder, user.uid, user.gid);
    const argv = ["sh", "-c", "cat '/a b/f' '/a b/deep/file'; echo x >'/a b/deep/file' || exit 4"];
    const { code, log } = await run(argv, {
      mounts: [
        { type: "tmpfs", target: "/a b" },
        { type: "bind", source: join(folder, "file"), target: "/a b/f", readOnly: true },
        { type: "bind", source: folder, target: "/a b/deep", readOnly: true },
      ],
    });
    expect(code).toBe(4);
    expect(log).toContain("stdout F content\nstdout F content\n");
  });

  test("a missing volume is a start error that names it", async () => {
    const mounts: Mount[] = [
      { type: "bind", source: join(fixture.folder, "absent"), target: "/x", readOnly: true },
    ];
    await expect(run(["sh"], { mounts })).rejects.toMatchObject({
      reason: "CreateContainerError",
      message: expect.stringContaining("absent") as string,
    });
  });

  test("nothing of the host can be reached, by parent folders, links in volumes, or /proc", async () => {
    const secret = join(fixture.folder, "host-secret");
    writeFileSync(secret, "secret");
    const folder = join(fixture.folder, `volume${++serial}`);
    mkdirSync(folder, { mode: 0o777 });
    symlinkSync("../../../../../../../../../../..", join(folder, "up"));
    symlinkSync(fixture.folder, join(folder, "absolute"));
    if (user) chownSync(folder, user.uid, user.gid);
    const argv = [
      "sh",
      "-c",
      `for r in / /.. /proc/1/root /proc/self/root /proc/1/cwd /v/up /v/absolute; do [ ! -e "$r${secret}" ] || echo "$r"; done; [ ! -e /v/absolute/host-secret ] || echo link; chroot /v/up /bin/ls / >/dev/null; mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; ls -A /dev; cat /proc/mounts`,
    ];
    const { log } = await run(argv, {
      mounts: [
        { type: "bind", source: folder, target: "/v", readOnly: false },
        { type: "tmpfs", target: `/v/up${fixture.folder}/planted` },
      ],
    });
    expect(
      log.split("\n").filter((line) => /^stdout F (\/($|\.|proc\/|v\/)|link|remounted)/.test(line)),
    ).toEqual([]);
    expect(existsSync(join(fixture.folder, "planted"))).toBe(false);
    expect(log).not.toMatch(/\/dev\/\.[0-9a-f]{16}/);
    expect(log).not.toMatch(/F \.[0-9a-f]{16}$/m);
    expect(log).toMatch(/^stdout F proc \/proc\/sys proc ro/m);
  });

  test("a command runs in the container with its environment, input, both outputs and exit code", async () => {
    await runtime.startContainer(
      fixture.container("main", "pod", ["sleep", "1000"], { env: { FOO: "bar" } }),
    );
    const result = await exec("main", ["sh", "-c", "cat; echo $FOO $MORE; echo err >&2; exit 5"], "input\n", {
      env: { MORE: "m" },
    });
    expect(result).toEqual({ stdout: "input\nbar m\n", stderr: "err\n", code: 5 });
    const big = "0123456789abcdef".repeat(200_000);
    expect((await exec("main", ["cat"], big)).stdout).toBe(big);
    await expect(runtime.exec("main", { argv: ["nope"], tty: false, stdin: false })).rejects.toThrow(
      'exec: "nope": executable file not found in $PATH',
    );
    const killed = await runtime.exec("main", { argv: ["sleep", "1000"], tty: false, stdin: false });
    killed.close();
    expect(await killed.exit).toBe(137);
  });

  test("a terminal has the size it is given and passes output on as it comes", async () => {
    const session = await runtime.exec("main", { argv: ["sh"], tty: true, stdin: true });
    session.resize(101, 37);
    session.stdin.write("until [ \"$(stty size)\" = '37 101' ]; do :; done; tty; exit 9\n");
    const shown = await text(session.stdout);
    expect(shown).toContain("/dev/pts/0");
    expect(await session.exit).toBe(9);
  });

  test("an attached client talks with the container's own process", async () => {
    const argv = ["sh", "-c", "read line; echo got $line; read line; exit 6"];
    await runtime.startContainer(fixture.container("attached", "pod", argv, { stdin: true }));
    const session = await runtime.attach?.("attached");
    session?.stdin.write("hello\n");
    const [chunk] = (await once(session?.stdout ?? process.stdin, "data")) as [Buffer];
    expect(chunk.toString()).toBe("got hello\n");
    session?.stdin.write("more\n");
    expect(await session?.exit).toBe(6);
    expect(logOf("attached")).toBe("stdout F got hello\n");
  });

  test("a container is asked to end and, after its grace period, killed", async () => {
    const polite = ["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"];
    const polite_ = fixture.container("polite", "pod", polite);
    await runtime.startContainer(polite_);
    await until(() => logOf("polite").includes("up"));
    await runtime.stopContainer("polite", 20);
    expect(exits.get("polite")?.exitCode).toBe(3);
    expect(logOf("polite")).toContain("bye");
    await runtime.startContainer(fixture.container("rude", "pod", ["sleep", "1000"]));
    await runtime.stopContainer("rude", 0);
    expect(exits.get("rude")?.exitCode).toBe(137);
    expect((await runtime.listContainers()).find(({ id }) => id === "rude")).toMatchObject({
      state: "exited",
      exitCode: 137,
    });
    await runtime.removeContainer("rude");
    expect((await runtime.listContainers()).find(({ id }) => id === "rude")).toBeUndefined();
  });

  test("containers of a pod may share a PID namespace", async () => {
    await runtime.runPodSandbox(fixture.pod("shared", { shareProcessNamespace: true }));
    await runtime.startContainer(fixture.container("one", "shared", ["sleep", "1111"]));
    const argv = ["sh", "-c", "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done; sleep 1000 & exit 4"];
    await runtime.startContainer(fixture.container("two", "shared", argv));
    expect((await exitOf("two")).exitCode).toBe(4);
    expect(logOf("two")).toContain("sleep\u00001111");
    await runtime.removePodSandbox("shared");
    expect((await runtime.listContainers()).filter(({ sandboxId }) => sandboxId === "shared")).toEqual([]);
  });

  test.skipIf(rootless)("a container over its memory limit is killed and says why", async () => {
    const { code, container } = await run(["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"], {
      limits: { memory: 32e6 },
    });
    expect(code).toBe(137);
    expect(container.oomKilled).toBe(true);
  });

  test("pods, Services and names can be reached, and refuse what nobody serves", async () => {
    const node: Mount = { type: "bind", source: process.execPath, target: "/bin/node", readOnly: true };
    const server = `const h = (s) => s.end("from " + process.env.HOSTNAME); const n = require("net");
      n.createServer(h).listen(80, "0.0.0.0", () => n.createServer(h).listen(81, "127.0.0.1", () => console.log("up")));
      const u = require("dgram").createSocket("udp4"); u.on("message", (m, r) => u.send("udp " + m, r.port, r.address)); u.bind(53);`;
    const web = await runtime.runPodSandbox(fixture.pod("web"));
    await runtime.startContainer(fixture.container("web", "web", ["node", "-e", server], { mounts: [node] }));
    await until(() => logOf("web").includes("up"));

    expect(await text(await runtime.dial(web.address, 80))).toBe("from web");
    expect(await text(await runtime.dial("", 80, "web"))).toBe("from web");
    expect(await text(await runtime.dial("", 81, "web"))).toBe("from web");
    await expect(runtime.dial("", 82, "web")).rejects.toThrow("connection refused");
    await expect(runtime.dial("10.96.7.7", 80)).rejects.toThrow("ECONNREFUSED");

    const service = (endpoints: { address: string; port: number }[]) => ({
      records: [
        { type: "A" as const, name: "web.default.svc.cluster.local", address: "10.96.7.7" },
        {
          type: "SRV" as const,
          name: "_http._tcp.web.default.svc.cluster.local",
          target: "web.default.svc.cluster.local",
          port: 80,
        },
      ],
      services: [
        {
          key: "default/web",
          clusterIP: "10.96.7.7",
          ports: [
            { port: 80, protocol: "TCP" as const, endpoints },
            {
              port: 53,
              protocol: "UDP" as const,
              endpoints: endpoints.map(({ address }) => ({ address, port: 53 })),
            },
          ],
        },
      ],
    });
    await sandbox.network.apply(service([{ address: web.address, port: 80 }]));
    expect(await text(await runtime.dial("10.96.7.7", 80))).toBe("from web");

    const client = `const d = require("dns").promises; const n = require("net");
      const get = (h) => new Promise((r) => { let o = ""; n.connect(80, h).on("data", (c) => o += c).on("end", () => r(o)).on("error", (e) => r(e.code)); });
      const udp = () => new Promise((r) => { const u = require("dgram").createSocket("udp4"); u.on("message", (m) => { u.close(); r(String(m)); }); u.send("x", 53, "10.96.7.7"); });
      (async () => console.log(JSON.stringify([await get("web"), await get("10.96.8.8"), await udp(),
        await d.resolveSrv("_http._tcp.web.default.svc.cluster.local"), await d.resolve4("no.default.svc.cluster.local").catch((e) => e.code),
        await d.resolve6("web.default.svc.cluster.local").catch((e) => e.code), await d.reverse("10.96.7.7")])))();`;
    const { log } = await run(["node", "-e", client], {
      mounts: [node],
      layers: [resolvingLayer(fixture), fixture.layer],
    });
    expect(JSON.parse(log.replace(/^stdout F /, ""))).toEqual([
      "from web",
      "ECONNREFUSED",
      "udp x",
      [{ name: "web.default.svc.cluster.local", port: 80, priority: 0, weight: 100, type: "SRV" }],
      "ENOTFOUND",
      "ENODATA",
      ["web.default.svc.cluster.local"],
    ]);

    const open = await runtime.dial("10.96.7.7", 80);
    await sandbox.network.apply(service([]));
    expect(await text(open)).toBe("from web");
    await expect(runtime.dial("10.96.7.7", 80)).rejects.toThrow("ECONNREFUSED");
  });

  test("the API server's Service address leads to its Unix socket, wherever that moves", async () => {
    for (const answer of ["first", "second"]) {
      const path = join(fixture.folder, `${answer}.sock`);
      const server = createServer((socket) => socket.end(answer)).listen({ path, writableAll: true });
      await once(server, "listening");
      await sandbox.setApiServer(path);
      expect(await text(await runtime.dial("10.96.0.1", 443))).toBe(answer);
      server.close();
    }
  });

  test("a pod keeps its address when it is asked for again", async () => {
    const [first, again] = [
      await runtime.runPodSandbox(fixture.pod("pod")),
      await runtime.runPodSandbox(fixture.pod("pod")),
    ];
    expect(again).toEqual(first);
    expect((await runtime.runPodSandbox(fixture.pod("host", { hostNetwork: true }))).address).toBe(
      "10.244.0.1",
    );
  });

  test("containers and their logs outlive a daemon that is killed, and the next one finds them", async () => {
    await sandbox.stop();
    const argv = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];
    const spec = fixture.container("survivor", "lasting", argv);
    const options = { dataDir: join(fixture.folder, "data"), user };
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
        JSON.stringify([options, fixture.pod("lasting"), spec]),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await once(daemon.stdout, "data");
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
    const before = logOf("survivor").length;
    await until(() => logOf("survivor").length > before + 50);
    await connect();
    expect(sandbox.adopted).toBe(true);
    expect(await runtime.listPodSandboxes()).toMatchObject([
      { id: "lasting", name: "lasting", namespace: "default" },
    ]);
    expect((await runtime.listContainers()).find(({ id }) => id === "survivor")?.state).toBe("running");
    expect((await exec("survivor", ["sh", "-c", "exit 2"])).code).toBe(2);
    const numbers = [...logOf("survivor").matchAll(/^stdout F (\d+)$/gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });

  test("what ran in an agent that was killed is found as killed, with nothing left behind", async () => {
    const { pid } = sandbox;
    const agent = identify(pid) ?? { pid, startTicks: 0 };
    process.kill(pid, "SIGKILL");
    await sandbox.closed;
    await until(() => !isAlive(agent));
    await connect();
    expect(sandbox.adopted).toBe(false);
    expect(await runtime.listPodSandboxes()).toEqual([]);
    expect((await runtime.listContainers()).find(({ id }) => id === "survivor")).toMatchObject({
      state: "exited",
      exitCode: 137,
    });
    await runtime.runPodSandbox(fixture.pod("pod"));
  });

  test("the end of the agent leaves no process, mount, file of its own or control group", async () => {
    await runtime.startContainer(
      fixture.container("last", "pod", ["sleep", "1000"], { limits: { memory: 64e6, cpu: 0.5 } }),
    );
    const { pid } = sandbox;
    const agent = identify(pid) ?? { pid, startTicks: 0 };
    expect(isAlive(agent)).toBe(true);
    await sandbox.stop();
    expect(isAlive(agent)).toBe(false);
    const left = readdirSync("/proc").filter(
      (entry) => /^\d+$/.test(entry) && commandOf(entry).includes(fixture.folder),
    );
    expect(left).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(fixture.folder);
    expect(readdirSync(join(fixture.folder, "data")).sort()).toEqual([
      "addresses.json",
      "agent.log",
      "containers",
      "tools",
    ]);
    for (const controller of ["", "memory", "cpu"]) expect(groups(controller)).toEqual([]);
    await connect();
  });
});

/** The programs of the fixture, with libc's resolver told to ask DNS. */
function resolvingLayer(fixture: Fixture): string {
  const folder = join(fixture.folder, "resolving");
  mkdirSync(join(folder, "etc"), { recursive: true });
  writeFileSync(join(folder, "etc", "nsswitch.conf"), "hosts: files dns\n");
  return folder;
}

async function text(stream: Readable | Duplex): Promise<string> {
  let all = "";
  for await (const chunk of stream) all += String(chunk);
  return all;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

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
