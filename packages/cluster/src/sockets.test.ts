import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { prepareSocket, removeSocket } from "./sockets.ts";

test("a socket lies where it is wanted", async () => {
  expect(await prepareSocket("/run/some/agent.sock")).toBe("/run/some/agent.sock");
});

test("one whose path is too long for the kernel lies in a short folder, always at the same place", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kws-sockets-"));
  try {
    const wanted = join(folder, "long".repeat(30), "agent.sock");
    const path = await prepareSocket(wanted, folder);
    expect(await prepareSocket(wanted, folder)).toBe(path);
    expect(await prepareSocket(wanted.replace("agent", "other"), folder)).not.toBe(path);
    const server = createServer().listen(path);
    await once(server, "listening");
    expect(existsSync(path)).toBe(true);
    await removeSocket(wanted, folder);
    expect(existsSync(path)).toBe(false);
    server.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
