import { expect, test } from "vitest";
import { connectEngine, engineSocket, unfit } from "./engine.ts";

test("the engine is where DOCKER_HOST says, or in one of the usual places, and on this machine", () => {
  const at = (env: NodeJS.ProcessEnv, there: string[] = []) =>
    engineSocket(env, "/home/one", (path) => there.includes(path));
  expect(at({ DOCKER_HOST: "unix:///run/own.sock" })).toBe("/run/own.sock");
  const own = "/home/one/.docker/run/docker.sock";
  expect(at({}, [own])).toBe(own);
  expect(at({}, [own, "/var/run/docker.sock"])).toBe("/var/run/docker.sock");
  expect(at({})).toBe("/var/run/docker.sock");
  expect(() => at({ DOCKER_HOST: "ssh://far" })).toThrow("a cluster needs an engine on this machine");
});

test("an engine that is too old, or has other containers, is told with what to do", () => {
  expect(unfit("1.41", "linux")).toBeUndefined();
  expect(unfit("2.0", undefined)).toBeUndefined();
  expect(unfit("1.40", "linux")).toMatchObject({
    code: "tool-missing",
    fix: expect.stringContaining("20.10"),
  });
  expect(unfit("1.47", "windows")).toMatchObject({ code: "config", fix: "Switch it to Linux containers." });
});

test("where no engine answers, its socket is named", async () => {
  await expect(connectEngine("/nonexistent/docker.sock")).rejects.toMatchObject({
    code: "tool-missing",
    message: expect.stringContaining("/nonexistent/docker.sock"),
    fix: expect.stringContaining("Start Docker"),
  });
});
