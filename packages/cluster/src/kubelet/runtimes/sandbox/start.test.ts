import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { identify, isAlive } from "@kws/base/process";
import { silent } from "@kws/base/logger";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { agentSocket, recordAgent } from "./agent-process.ts";
import { protocolVersion, readFrames, writeJson, type Request } from "./protocol.ts";
import { startSandboxRuntime } from "./start.ts";

test.each([
  ["an older", protocolVersion - 1],
  ["a newer", protocolVersion + 1],
])("an agent of %s kws is told with what to do, and left as it is", async (age, version) => {
  await using folder = await tempDir("kws-agent");
  const asked: string[] = [];
  const server = createServer((socket) => {
    readFrames(socket, (_kind, payload) => {
      const { id, method } = JSON.parse(payload.toString()) as Request;
      asked.push(method);
      writeJson(socket, { id, result: { version, pid: 1 } });
    });
  }).listen(agentSocket(folder.path));
  await once(server, "listening");
  const child = spawn(process.execPath, ["--eval", "setInterval(() => {}, 1000)"]);
  await once(child, "spawn");
  const agent = identify(child.pid ?? 0);
  if (agent === undefined) throw new Error("the agent is gone");
  try {
    await recordAgent(folder.path, agent);
    await expect(startSandboxRuntime({ dataDir: folder.path, logger: silent })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining(`started by ${age} kws`) as string,
      fix: expect.stringContaining("kws cluster stop") as string,
    });
    expect(asked).toEqual(["hello"]);
    expect(isAlive(agent)).toBe(true);
  } finally {
    child.kill();
    server.close();
  }
});
