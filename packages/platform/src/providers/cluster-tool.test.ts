import { expect, test } from "vitest";
import { toolFailure } from "./cluster-tool.ts";

/** The tools' own words. */
test.each([
  [
    "Docker does not run",
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    { code: "tool-missing", fix: expect.stringContaining("Start Docker") },
  ],
  [
    "a port is taken",
    "Error response from daemon: driver failed programming external connectivity on endpoint k3d-kws-serverlb: Bind for 127.0.0.1:8080 failed: port is already allocated",
    { code: "conflict", fix: expect.stringContaining("--ingress-port") },
  ],
  [
    "the user may not",
    "Insufficient permissions to access MicroK8s.\nYou can either try again with sudo or add the user to the 'microk8s' group",
    { code: "permission", fix: expect.stringContaining("Allow your user") },
  ],
  ["anything else happens", "the node is on fire", { code: "failed", fix: undefined }],
])("where %s, the error says what to do", (_what, stderr, wanted) => {
  const error = toolFailure("k3d", { exitCode: 1, stdout: "", stderr });
  expect(error).toMatchObject(wanted);
  expect(`${error.message}${String(error.cause)}`, "the tool's own words").toContain(stderr.split("\n")[0]);
});
