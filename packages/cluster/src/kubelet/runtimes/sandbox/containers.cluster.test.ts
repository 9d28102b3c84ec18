import { chownSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Mount } from "../../runtime.ts";
import { isRoot } from "../../testing/ordinary-user.ts";
import { describeSandbox, until } from "../../testing/sandbox-harness.ts";

describeSandbox("Containers", (h) => {
  const { run, logOf, exitOf, folder } = h;

  test("a container's output is logged in the CRI format, partial lines as such, and its exit code kept", async () => {
    const { id, code, log } = await run([
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
    expect(given.replace("stdout P ", "").trimEnd().split("\0").sort()).toEqual([
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
    await expect(start(["/etc"])).rejects.toThrow('exec: "/etc": permission denied');
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
    expect(log).toMatch(/F 1234\nstdout F 1234\nstdout F -rw-r--r-- 1 1234 1234 /);
    expect(log).toContain("CapEff: 0000000000000000\n");
    expect(log).toContain("NoNewPrivs: 1\n");
    expect(log).toContain("stderr F err\n");
  });

  test("root in a container becomes another user, unless the cluster is an ordinary user's: then it is refused", async () => {
    const tool = "/dev/.kws/ld.so --library-path /dev/.kws/lib /dev/.kws/bin/setpriv";
    const { id, log } = await run(["sh", "-c", `${tool} --reuid=1234 --clear-groups id -u 2>&1`]);
    expect(log).toMatch(h.rootless ? /Operation not permitted|Invalid argument/ : /^stdout F 1234\n$/);
    const { terminationMessagePath } = h.fixture.container(id, "pod", []);
    expect(readFileSync(terminationMessagePath, "utf8")).toMatch(h.rootless ? /runAsUser/ : /^$/);
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

  test("a container over its memory limit is killed and says why; without a control group it has no limit", async () => {
    const limits = { memory: 32e6 };
    const { log } = await run(["cat", "/proc/self/cgroup"], { limits });
    const isLimited = /:(?:memory)?:.*\/kws-[0-9a-f]{12}\/pod\//.test(log);
    expect(isLimited || h.rootless).toBe(true);
    const big = ["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"];
    const { code, container } = await run(big, { limits });
    expect([code, container.oomKilled]).toEqual(isLimited ? [137, true] : [0, undefined]);
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
});
