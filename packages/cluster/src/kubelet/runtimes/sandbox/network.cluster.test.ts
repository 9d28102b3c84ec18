import { once } from "node:events";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { createLogger } from "@kws/base/logger";
import { expect, test, vi } from "vitest";
import type { Mount } from "../../runtime.ts";
import { startSandboxRuntime } from "./start.ts";
import { findProgram } from "./tools.ts";
import { networkContract } from "../../testing/runtime-contract.ts";
import { describeSandbox, text } from "../../testing/runtime-harness.ts";

describeSandbox("Networks", (h) => {
  const { run } = h;

  networkContract(h);

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
});
