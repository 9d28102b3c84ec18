/** What every container runtime does, asked of each of them alike. */
import { chownSync, readFileSync } from "node:fs";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { Mount } from "../runtime.ts";
import { isRoot } from "./ordinary-user.ts";
import { text, until, type Harness } from "./runtime-harness.ts";

/** Output, environment, users, ends and limits of containers. */
export function containersContract(h: Harness): void {
  const { run, logOf, exitOf, folder } = h;

  test("a container's output is logged in the CRI format, partial lines as such, and its exit code kept", async () => {
    const { id, code, log } = await run([
      "sh",
      "-c",
      "echo one; echo two >&2; echo three >/dev/stderr; printf rest; exit 7",
    ]);
    expect(code).toBe(7);
    const lines = log.split("\n").toSorted();
    expect(lines.slice(0, 4)).toEqual(["", "stderr F three", "stderr F two", "stdout F one"]);
    // Some engines end the last line themselves.
    expect(lines.slice(4)).toEqual([expect.stringMatching(/^stdout [FP] rest$/)]);
    const raw = readFileSync(join(h.fixture.folder, "logs", `${id}.log`), "utf8");
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
    const variables = given
      .replace(/^stdout [FP] /, "")
      .trimEnd()
      .split("\0");
    // runc adds a home where there is none.
    expect(variables.filter((variable) => variable !== "HOME=/").toSorted()).toEqual([
      "",
      "A=b",
      "HOSTNAME=pod",
      path,
      "dotted.name=d",
    ]);
  });

  test("a program that does not exist is a start error in the familiar words", async () => {
    const start = (argv: string[]) => h.runtime.startContainer(h.fixture.container("broken", "pod", argv));
    await expect(start(["foo"])).rejects.toMatchObject({
      name: "ContainerStartError",
      reason: "RunContainerError",
      message: expect.stringContaining('exec: "foo": executable file not found in $PATH') as string,
    });
    await expect(start(["/bin/foo"])).rejects.toThrow(
      'exec: "/bin/foo": stat /bin/foo: no such file or directory',
    );
    await expect(start(["/etc"])).rejects.toThrow(/exec: "\/etc": (permission denied|is a directory)/);
    expect((await h.runtime.listContainers()).map(({ id }) => id)).not.toContain("broken");
  });

  test("a process runs as the asked user, without privileges, and owns what it writes", async () => {
    const argv = [
      "sh",
      "-c",
      "id -u; id -g; touch /tmp/mine && ls -n /tmp/mine; while read -r k v; do case $k in CapEff:|NoNewPrivs:) echo $k $v;; esac; done </proc/self/status; echo err >/dev/stderr",
    ];
    const volume = folder();
    if (isRoot && !h.user) chownSync(volume, 1234, 1234);
    const mounts: Mount[] = [{ type: "bind", source: volume, target: "/tmp", readOnly: false }];
    const { log } = await run(argv, {
      user: { uid: 1234, gid: 1234, additionalGids: [] },
      allowPrivilegeEscalation: false,
      mounts,
    });
    // The two outputs come in any order.
    expect(log.replaceAll(/^stderr .*\n/gm, "")).toMatch(
      /F 1234\nstdout F 1234\nstdout F -rw-r--r-- 1 1234 1234 /,
    );
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

  test("a container is asked to end and, after its grace period, killed", async () => {
    const polite = ["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"];
    const polite_ = h.fixture.container("polite", "pod", polite);
    await h.runtime.startContainer(polite_);
    await until(() => logOf("polite").includes("up"));
    await h.runtime.stopContainer("polite", 20);
    expect(h.exits.get("polite")?.exitCode).toBe(3);
    expect(logOf("polite")).toContain("bye");
    await h.runtime.startContainer(h.fixture.container("rude", "pod", ["sleep", "1000"]));
    await h.runtime.stopContainer("rude", 0);
    expect(h.exits.get("rude")?.exitCode).toBe(137);
    expect((await h.runtime.listContainers()).find(({ id }) => id === "rude")).toMatchObject({
      state: "exited",
      exitCode: 137,
    });
    await h.runtime.removeContainer("rude");
    expect((await h.runtime.listContainers()).find(({ id }) => id === "rude")).toBeUndefined();
  });

  test("containers of a pod may share a PID namespace", async () => {
    await h.runtime.runPodSandbox(h.fixture.pod("shared", { shareProcessNamespace: true }));
    await h.runtime.startContainer(h.fixture.container("one", "shared", ["sleep", "1111"]));
    const argv = ["sh", "-c", "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done; sleep 1000 & exit 4"];
    await h.runtime.startContainer(h.fixture.container("two", "shared", argv));
    expect((await exitOf("two")).exitCode).toBe(4);
    expect(logOf("two")).toContain("sleep\u00001111");
    // What is left of one that ends before anybody has looked at it.
    const quick = Array.from({ length: 12 }, (_, index) => `quick-${index}`);
    for (const id of quick) {
      const words = ["sh", "-c", "sleep 1000 & exit 5"];
      await h.runtime.startContainer(h.fixture.container(id, "shared", words));
    }
    for (const id of quick) expect((await exitOf(id)).exitCode).toBe(5);
    await h.runtime.removePodSandbox("shared");
    expect((await h.runtime.listContainers()).filter(({ sandboxId }) => sandboxId === "shared")).toEqual([]);
  });

  test("a container that targets another one sees its processes, and the other's end is its own", async () => {
    const target = await h.runtime.startContainer(h.fixture.container("target", "pod", ["sleep", "2222"]));
    const look = "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done; exec sleep 1000";
    const debug = h.fixture.container("debug", "pod", ["sh", "-c", look], { targetId: target.id });
    await h.runtime.startContainer(debug);
    await until(() => logOf("debug").includes("sleep\u00002222"));
    await h.runtime.stopContainer("target", 0);
    expect((await exitOf("debug")).exitCode).toBe(137);
    await expect(h.runtime.startContainer({ ...debug, id: "late" })).rejects.toThrow("is not running");
  });

  test("a fork bomb gets no further than its pod's limit, and what else runs does not notice", async () => {
    await h.runtime.runPodSandbox(h.fixture.pod("bombed", { processLimit: 150 }));
    const bomb = `(i=0; while [ $i -lt 400 ]; do sleep 1000 & i=$((i+1)); done; echo unbounded) 2>/dev/null
      set -- /proc/[0-9]*; echo $# processes; exec sleep 1000`;
    await h.runtime.startContainer(h.fixture.container("bomb", "bombed", ["sh", "-c", bomb]));
    await until(() => logOf("bomb").includes("processes"));
    expect(logOf("bomb")).not.toContain("unbounded");
    const started = Number(/(\d+) processes/.exec(logOf("bomb"))?.[1]);
    expect(started).toBeGreaterThan(50);
    expect(started).toBeLessThanOrEqual(150);
    expect((await run(["sh", "-c", "sleep 0; exit 3"])).code).toBe(3);
    await h.runtime.stopContainer("bomb", 0);
    await h.runtime.removePodSandbox("bombed");
  });
}

/** Commands and attached clients. */
export function sessionsContract(h: Harness): void {
  const { exec, logOf } = h;

  test("a command runs in the container with its environment, input, both outputs and exit code", async () => {
    await h.runtime.startContainer(
      h.fixture.container("main", "pod", ["sleep", "1000"], { env: { FOO: "bar" } }),
    );
    const result = await exec("main", ["sh", "-c", "cat; echo $FOO $MORE; echo err >&2; exit 5"], "input\n", {
      env: { MORE: "m" },
    });
    expect(result).toEqual({ stdout: "input\nbar m\n", stderr: "err\n", code: 5 });
    const big = "0123456789abcdef".repeat(200_000);
    expect((await exec("main", ["cat"], big)).stdout).toBe(big);
    await expect(h.runtime.exec("main", { argv: ["nope"], tty: false, stdin: false })).rejects.toThrow(
      'exec: "nope": executable file not found in $PATH',
    );
    const killed = await h.runtime.exec("main", { argv: ["sleep", "1000"], tty: false, stdin: false });
    killed.close();
    expect(await killed.exit).toBe(137);
  });

  test("a terminal has the size it is given and passes output on as it comes", async () => {
    const session = await h.runtime.exec("main", { argv: ["sh"], tty: true, stdin: true });
    session.resize(101, 37);
    session.stdin.write("until [ \"$(stty size)\" = '37 101' ]; do :; done; tty; exit 9\n");
    const shown = await text(session.stdout);
    expect(shown).toContain("/dev/pts/0");
    expect(await session.exit).toBe(9);
  });

  test("an attached client talks with the container's own process", async () => {
    const argv = ["sh", "-c", "read line; echo got $line; read line; exit 6"];
    await h.runtime.startContainer(h.fixture.container("attached", "pod", argv, { stdin: true }));
    const session = await h.runtime.attach?.("attached");
    session?.stdin.write("hello\n");
    const [chunk] = (await once(session?.stdout ?? process.stdin, "data")) as [Buffer];
    expect(chunk.toString()).toBe("got hello\n");
    session?.stdin.write("more\n");
    expect(await session?.exit).toBe(6);
    expect(logOf("attached")).toBe("stdout F got hello\n");
  });
}

/** Pods, Services, names and the ways to the host. */
export function networkContract(h: Harness): void {
  const { run, logOf } = h;

  test("pods, Services and names can be reached, and refuse what nobody serves", async () => {
    const node: Mount = { type: "bind", source: process.execPath, target: "/bin/node", readOnly: true };
    const server = `const h = (s) => s.end("from " + process.env.HOSTNAME); const n = require("net");
      n.createServer(h).listen(80, "0.0.0.0", () => n.createServer(h).listen(81, "127.0.0.1", () => console.log("up")));
      const u = require("dgram").createSocket("udp4"); u.on("message", (m, r) => u.send("udp " + m, r.port, r.address)); u.bind(53);`;
    const web = await h.runtime.runPodSandbox(h.fixture.pod("web"));
    await h.runtime.startContainer(
      h.fixture.container("web", "web", ["node", "-e", server], { mounts: [node] }),
    );
    await until(() => logOf("web").includes("up"));

    expect(await text(await h.runtime.dial(web.address, 80))).toBe("from web");
    expect(await text(await h.runtime.dial("", 80, "web"))).toBe("from web");
    expect(await text(await h.runtime.dial("", 81, "web"))).toBe("from web");
    await expect(h.runtime.dial("", 82, "web")).rejects.toThrow("connection refused");
    await expect(h.runtime.dial("10.96.7.7", 80)).rejects.toThrow("ECONNREFUSED");

    const service = (endpoints: { address: string; port: number }[]) => ({
      policies: { pods: [], isolations: [] },
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
    await h.started.network.apply(service([{ address: web.address, port: 80 }]));
    expect(await text(await h.runtime.dial("10.96.7.7", 80))).toBe("from web");

    const client = `const d = require("dns").promises; const n = require("net");
      const get = (h) => new Promise((r) => { let o = ""; n.connect(80, h).on("data", (c) => o += c).on("end", () => r(o)).on("error", (e) => r(e.code)); });
      const udp = () => new Promise((r) => { const u = require("dgram").createSocket("udp4"); u.on("message", (m) => { u.close(); r(String(m)); }); u.send("x", 53, "10.96.7.7"); });
      (async () => console.log(JSON.stringify([await get("web"), await get("10.96.8.8"), await udp(),
        await d.resolveSrv("_http._tcp.web.default.svc.cluster.local"), await d.resolve4("no.default.svc.cluster.local").catch((e) => e.code),
        await d.resolve6("web.default.svc.cluster.local").catch((e) => e.code), await d.reverse("10.96.7.7")])))();`;
    const { log } = await run(["node", "-e", client], {
      mounts: [node],
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

    const open = await h.runtime.dial("10.96.7.7", 80);
    await h.started.network.apply(service([]));
    expect(await text(open)).toBe("from web");
    await expect(h.runtime.dial("10.96.7.7", 80)).rejects.toThrow("ECONNREFUSED");
  });

  test("services of the host's loopback address are reached by its name, as they come and go", async () => {
    const node: Mount = { type: "bind", source: process.execPath, target: "/bin/node", readOnly: true };
    const get = async (port: number) => {
      const program = `require("net").connect(${port}, "host.kws.internal").on("data", (d) => console.log(String(d))).on("error", (e) => console.log(e.code));`;
      return (await run(["node", "-e", program], { mounts: [node] })).log;
    };
    for (const host of ["127.0.0.1", "::1"]) {
      const server = createServer((socket) => socket.end(`from ${host}`)).listen(0, host);
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      await vi.waitFor(async () => expect(await get(port)).toBe(`stdout F from ${host}\n`), 20_000);
      server.close();
      await vi.waitFor(async () => expect(await get(port)).toBe("stdout F ECONNREFUSED\n"), 20_000);
    }
  });

  test("the API server's Service address leads to its Unix socket, wherever that moves", async () => {
    for (const answer of ["first", "second"]) {
      const path = join(h.fixture.folder, `${answer}.sock`);
      const server = createServer((socket) => socket.end(answer)).listen({ path, writableAll: true });
      await once(server, "listening");
      await h.started.setApiServer(path);
      expect(await text(await h.runtime.dial("10.96.0.1", 443))).toBe(answer);
      server.close();
    }
  });

  test("a pod keeps its address when it is asked for again", async () => {
    const [first, again] = [
      await h.runtime.runPodSandbox(h.fixture.pod("pod")),
      await h.runtime.runPodSandbox(h.fixture.pod("pod")),
    ];
    expect(again).toEqual(first);
    expect((await h.runtime.runPodSandbox(h.fixture.pod("host", { hostNetwork: true }))).address).toBe(
      "10.244.0.1",
    );
  });
}
