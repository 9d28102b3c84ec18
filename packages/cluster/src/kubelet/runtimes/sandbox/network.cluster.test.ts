import { once } from "node:events";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { createLogger } from "@kws/base/logger";
import { expect, test, vi } from "vitest";
import type { Mount } from "../../runtime.ts";
import type { Fixture } from "../../testing/sandbox-fixture.ts";
import { startSandboxRuntime } from "./start.ts";
import { findProgram } from "./tools.ts";
import { describeSandbox, text, until } from "../../testing/sandbox-harness.ts";

describeSandbox("Networks", (h) => {
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
    await h.sandbox.network.apply(service([{ address: web.address, port: 80 }]));
    expect(await text(await h.runtime.dial("10.96.7.7", 80))).toBe("from web");

    const client = `const d = require("dns").promises; const n = require("net");
      const get = (h) => new Promise((r) => { let o = ""; n.connect(80, h).on("data", (c) => o += c).on("end", () => r(o)).on("error", (e) => r(e.code)); });
      const udp = () => new Promise((r) => { const u = require("dgram").createSocket("udp4"); u.on("message", (m) => { u.close(); r(String(m)); }); u.send("x", 53, "10.96.7.7"); });
      (async () => console.log(JSON.stringify([await get("web"), await get("10.96.8.8"), await udp(),
        await d.resolveSrv("_http._tcp.web.default.svc.cluster.local"), await d.resolve4("no.default.svc.cluster.local").catch((e) => e.code),
        await d.resolve6("web.default.svc.cluster.local").catch((e) => e.code), await d.reverse("10.96.7.7")])))();`;
    const { log } = await run(["node", "-e", client], {
      mounts: [node],
      layers: [resolvingLayer(h.fixture), h.fixture.layer],
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
    await h.sandbox.network.apply(service([]));
    expect(await text(open)).toBe("from web");
    await expect(h.runtime.dial("10.96.7.7", 80)).rejects.toThrow("ECONNREFUSED");
  });

  test("services of the host's loopback address are reached by its name, as they come and go", async () => {
    const node: Mount = { type: "bind", source: process.execPath, target: "/bin/node", readOnly: true };
    const get = async (port: number) => {
      const program = `require("net").connect(${port}, "host.kws.internal").on("data", (d) => console.log(String(d))).on("error", (e) => console.log(e.code));`;
      const layers = [resolvingLayer(h.fixture), h.fixture.layer];
      return (await run(["node", "-e", program], { mounts: [node], layers })).log;
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

  test("other addresses are reached where the machine has slirp4netns, and refused at once where not", async () => {
    const interfaces = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const host = interfaces.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
    const server = createServer((socket) => socket.end("reached")).listen(0, host);
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const node: Mount = { type: "bind", source: process.execPath, target: "/bin/node", readOnly: true };
    const program = `require("net").connect(${port}, "${host}").on("data", (d) => console.log(String(d))).on("error", (e) => console.log(e.code));`;
    const { log } = await run(["node", "-e", program], { mounts: [node] });
    server.close();
    const refused = "stdout F EHOSTUNREACH\n";
    const found = await findProgram("slirp4netns");
    expect(found === undefined ? [refused] : ["stdout F reached\n", refused]).toContain(log);
  });

  test("where slirp4netns cannot do it, its words are logged, and the host's services are reached all the same", async () => {
    const program = join(h.fixture.folder, "slirp4netns");
    writeFileSync(program, "#!/bin/sh\necho cannot open the device >&2\nexit 1\n", { mode: 0o755 });
    const dataDir = join(h.fixture.folder, "other");
    mkdirSync(dataDir);
    if (h.user) chownSync(dataDir, h.user.uid, h.user.gid);
    const lines: string[] = [];
    const logger = createLogger((line) => void lines.push(line), "warn");
    const other = await startSandboxRuntime({ dataDir, logger, user: h.user, slirp4netns: program });
    const server = createServer((socket) => socket.end("served")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await vi.waitFor(
      async () => expect(await text(await other.runtime.dial("10.244.0.2", port))).toBe("served"),
      20_000,
    );
    server.close();
    await other.stop();
    expect(lines.join("")).toContain("cannot open the device");
  });

  test("the API server's Service address leads to its Unix socket, wherever that moves", async () => {
    for (const answer of ["first", "second"]) {
      const path = join(h.fixture.folder, `${answer}.sock`);
      const server = createServer((socket) => socket.end(answer)).listen({ path, writableAll: true });
      await once(server, "listening");
      await h.sandbox.setApiServer(path);
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
});

/** The programs of the fixture, with libc's resolver told to ask DNS. */
function resolvingLayer(fixture: Fixture): string {
  const folder = join(fixture.folder, "resolving");
  mkdirSync(join(folder, "etc"), { recursive: true });
  writeFileSync(join(folder, "etc", "nsswitch.conf"), "hosts: files dns\n");
  return folder;
}
