import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubeObject } from "@kws/kube/object";
import { UserError } from "@kws/base/errors";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadServices } from "../project/services.ts";
import { loadProject, type ProjectService } from "../project/workspace.ts";
import type { Provider } from "../providers/provider.ts";
import type { Workload, WorkloadKind } from "../services/workloads.ts";
import type { Container } from "./container.ts";
import { planDev } from "./plan.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-plan-"));
});
afterEach(() => rm(dir, { recursive: true }));

async function service(dev: string): Promise<ProjectService> {
  await writeFile(join(dir, "kws.yaml"), `name: web\n${dev}`);
  const options = { cache: dir, env: {}, signal: new AbortController().signal };
  const [found] = await loadServices(await loadProject(join(dir, "kws.yaml")), options);
  if (found === undefined) throw new Error("there is no service");
  return found;
}

function workload(kind: WorkloadKind, name: string, containers: Container[], spec: object = {}): Workload {
  const object: KubeObject = {
    apiVersion: "apps/v1",
    kind,
    metadata: { name },
    spec: { template: { spec: { containers } }, ...spec },
  };
  return { kind, name, object, ready: 1, wanted: 1, done: true, pods: [], stale: [] };
}

/** The images of its cluster cannot be read from here. */
const provider = {
  imageRepository: () => Promise.reject(new UserError("not from here")),
} as unknown as Provider;

const plan = (one: ProjectService, workloads: Workload[]) =>
  planDev(one, workloads, provider, new AbortController().signal);
const app = { name: "app", image: "registry.example.com/shop/web:1", command: ["serve"], workingDir: "/srv" };
const proxy = { name: "proxy", image: "registry.example.com/proxy:1" };

test("the container that runs the service's own image is replaced, wherever it is", async () => {
  const cache = workload("Deployment", "web-cache", [{ name: "cache", image: "redis:8" }]);
  const found = await plan(await service(""), [cache, workload("StatefulSet", "web", [proxy, app])]);
  expect(found).toMatchObject({
    kind: "StatefulSet",
    name: "web",
    container: "app",
    command: ["serve"],
    workdir: "/srv",
    rules: [{ path: "**", action: "restart" }],
  });
});

test("what kws.yaml says wins", async () => {
  const dev =
    "dev: { container: proxy, command: [run], workdir: /app, rules: [{ path: a, action: sync }] }\n";
  expect(await plan(await service(dev), [workload("Deployment", "web", [app, proxy])])).toMatchObject({
    container: "proxy",
    command: ["run"],
    workdir: "/app",
    rules: [{ path: "a", action: "sync" }],
  });
});

test("the sources may be elsewhere in the service's root", async () => {
  await mkdir(join(dir, "src"));
  const found = await plan(await service("dev: { source: ./src }\n"), [workload("Deployment", "web", [app])]);
  expect(found.source).toBe(await realpath(join(dir, "src")));
  expect(found.ignore).toEqual(["/kws.yaml"]);
});

test.each([
  ["dev: { source: .. }\n", [workload("Deployment", "a", [app])], /leads out of/],
  ["dev: { source: gone }\n", [workload("Deployment", "a", [app])], /gone is no folder/],
  ["", [workload("DaemonSet", "web", [app])], /runs as a DaemonSet/],
  ["", [workload("Job", "web", [app])], /runs as a Job/],
  ["", [], /nothing that runs/],
  [
    "",
    [workload("Deployment", "a", [proxy]), workload("Deployment", "b", [proxy])],
    /several workloads: a, b/,
  ],
  ["dev: { workload: c }\n", [workload("Deployment", "a", [app])], /no workload "c"/],
  ["dev: { container: c }\n", [workload("Deployment", "a", [app])], /no container "c"/],
  [
    "",
    [workload("StatefulSet", "a", [app], { updateStrategy: { type: "OnDelete" } })],
    /not replaced when it changes/,
  ],
  ["", [workload("Deployment", "a", [{ ...app, command: undefined }])], /what runs in the dev container/],
  ["", [workload("Deployment", "a", [{ ...app, workingDir: undefined }])], /where the source of web is/],
  ["dev: { rules: [{ path: a, action: run }] }\n", [workload("Deployment", "a", [app])], /names none/],
  [
    "dev: { rules: [{ path: a, action: sync, run: [b] }] }\n",
    [workload("Deployment", "a", [app])],
    /its action is "sync"/,
  ],
  [
    "dev: { rules: [{ path: a, action: rebuild }] }\n",
    [workload("Deployment", "a", [app])],
    /has no image to build/,
  ],
] as [string, Workload[], RegExp][])(
  "with %j and such workloads it is refused: %#",
  async (dev, workloads, message) => {
    await expect(service(dev).then((one) => plan(one, workloads))).rejects.toThrow(message);
  },
);
