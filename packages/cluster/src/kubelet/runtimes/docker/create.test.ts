import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import type { ContainerSpec } from "../../runtime.ts";
import { containerBody, startError, type Surroundings } from "./create.ts";

const spec: ContainerSpec = {
  id: "one",
  sandboxId: "pod",
  name: "main",
  attempt: 0,
  image: "sha256:1",
  layers: [],
  argv: ["node", "server.js"],
  env: { PORT: "80" },
  cwd: "/app",
  user: { uid: 1000, gid: 1001, additionalGids: [7] },
  mounts: [],
  readOnlyRootFilesystem: true,
  privileged: false,
  allowPrivilegeEscalation: false,
  capabilities: { add: ["SYS_TIME"], drop: ["ALL"] },
  limits: { memory: 1, cpu: 8 },
  stdin: false,
  tty: false,
  logPath: "/logs/0.log",
  terminationMessagePath: "/messages/one",
  terminationMessageTarget: "/dev/termination-log",
  annotations: {},
};
const around: Surroundings = {
  image: "sha256:2",
  labels: { a: "b" },
  pause: "pause",
  processesOf: undefined,
  pod: { folder: "/pods/pod", hostname: "host", processLimit: 50 },
  cpus: 2,
};

test("a container has what the kubelet says, in its pod's namespaces, and nothing of the image's configuration", () => {
  const body = containerBody(spec, around);
  expect(body).toMatchObject({
    Image: "sha256:2",
    Entrypoint: ["node"],
    Cmd: ["server.js"],
    Env: ["HOSTNAME=host", "PORT=80"],
    WorkingDir: "/app",
    User: "1000:1001",
  });
  expect(body.HostConfig).toMatchObject({
    NetworkMode: "container:pause",
    IpcMode: "container:pause",
    GroupAdd: ["7"],
    ReadonlyRootfs: true,
    CapDrop: ["ALL"],
    CapAdd: ["SYS_TIME"],
    SecurityOpt: ["no-new-privileges"],
    PidsLimit: 50,
    // The least that the engine takes, and the most that it has.
    Memory: 6 * 2 ** 20,
    NanoCpus: 2e9,
  });
  expect(body.HostConfig).not.toHaveProperty("PidMode");
  expect(containerBody(spec, { ...around, processesOf: "other" }).HostConfig?.PidMode).toBe(
    "container:other",
  );
  const all = { ...spec, capabilities: { add: ["ALL"], drop: ["SYS_ADMIN"] } };
  expect(containerBody(all, around).HostConfig).toMatchObject({ CapAdd: ["ALL"], CapDrop: ["SYS_ADMIN"] });
});

test("a place in a volume that leads out of it is refused", async () => {
  await using dir = await tempDir("kws-create");
  const volume = join(dir.path, "volume");
  await mkdir(join(volume, "in"), { recursive: true });
  await symlink(dir.path, join(volume, "out"));
  const mounting = (name: string) => {
    const mount = { type: "bind", target: "/data", readOnly: false, within: volume } as const;
    return () => containerBody({ ...spec, mounts: [{ ...mount, source: join(volume, name) }] }, around);
  };
  expect(mounting("in")().HostConfig?.Mounts).toContainEqual(
    expect.objectContaining({ Type: "bind", Source: join(volume, "in"), Target: "/data" }),
  );
  expect(mounting("out")).toThrow("leads out of its volume");
});

test("why a container did not start is told in the words of the kubelet", () => {
  const said =
    'OCI runtime create failed: runc create failed: unable to start container process: exec: "no": executable file not found in $PATH: unknown';
  expect(startError(said)).toMatchObject({
    reason: "RunContainerError",
    message:
      'unable to start container process: error during container init: exec: "no": executable file not found in $PATH',
  });
  expect(startError("no such image")).toMatchObject({ reason: "CreateContainerError" });
});
