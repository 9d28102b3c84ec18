/** Development sessions on a real cluster: what is replaced and given back, what rules do, and other languages than Node's. */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import type { Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { openPodPort } from "@kws/kube/port-forward";
import {
  deployments,
  horizontalPodAutoscalers,
  persistentVolumeClaims,
  pods,
  statefulSets,
} from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { clusterOf } from "../attach/cluster.ts";
import { loadServices } from "../project/services.ts";
import { loadProject } from "../project/workspace.ts";
import { embeddedProvider } from "../providers/embedded.ts";
import { connect, type Connection, type Provider } from "../providers/provider.ts";
import { readNamespace, workloadsOf } from "../services/workloads.ts";
import { locateTool } from "../tools/locate.ts";
import { debugPods } from "./debug/backend.ts";
import type { DebugStart } from "./debug/debugger.ts";
import type { DevEvent } from "./events.ts";
import { planDev } from "./plan.ts";
import { startDev } from "./session.ts";
import { openDap } from "./testing/dap.ts";

const namespace = "default";
const waiting = { timeout: 40_000, interval: 50 };
const { signal } = new AbortController();

let dir: TempDir;
let provider: Provider;
let connection: Connection;
let kubectl: string;

beforeAll(async () => {
  dir = await tempDir("kws-session");
  provider = embeddedProvider({ name: "session", home: join(dir.path, "data"), env: process.env });
  await provider.start({});
  connection = await connect(provider);
  kubectl = (await locateTool("kubectl", { cache: join(dir.path, "cache"), env: process.env })).path;
});
afterAll(async () => {
  connection.close();
  await provider.reset({ foreign: false });
  await dir[Symbol.asyncDispose]();
});

const kinds: Record<string, Resource> = { Deployment: deployments, StatefulSet: statefulSets };

/** A workload as a chart installs it, by server-side apply. */
function install(kind: string, name: string, container: object, spec: object = {}, pod: object = {}) {
  const labels = { "app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": "Helm" };
  const object: KubeObject = {
    apiVersion: "apps/v1",
    kind,
    metadata: {
      name,
      namespace,
      labels,
      annotations: { "meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace },
    },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name, ...labels } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: "main", image: provider.nodeImage, workingDir: "/app", ...container }],
          ...pod,
        },
      },
      ...spec,
    },
  };
  return connection.client.apply(kinds[kind]!, object, { fieldManager: "helm" });
}

async function write(name: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    const file = join(dir.path, name, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}

interface Running extends AsyncDisposable {
  events: DevEvent[];
  /** Resolves when something that contains it was told since this was asked for the last time. */
  told(text: string): Promise<void>;
}

/** `copied`: the container does not see the folder. */
async function develop(
  name: string,
  { copied = false, debug }: { copied?: boolean; debug?: DebugStart } = {},
): Promise<Running> {
  const project = await loadProject(join(dir.path, name, "kws.yaml"));
  const cache = join(dir.path, "cache");
  const [service] = await loadServices(project, { cache, env: process.env, signal });
  if (service === undefined) throw new Error("there is no service");
  const from = copied ? { ...provider, sharesFiles: false } : provider;
  const workloads = workloadsOf(await readNamespace(connection.client, namespace), name);
  const events: DevEvent[] = [];
  let seen = 0;
  const session = await startDev({
    service,
    plan: await planDev(service, workloads, from, signal, debug),
    namespace,
    workspace: "w",
    provider: from,
    connection,
    kubectl,
    cache,
    env: process.env,
    holder: { user: "someone", host: hostname(), pid: process.pid },
    takeOver: false,
    timeoutMs: 60_000,
    clock: () => Date.now(),
    signal,
    onEvent: (event) => events.push(event),
  });
  return {
    events,
    told: (text) =>
      vi.waitFor(() => {
        const at = events.findIndex((event, index) => index >= seen && wordsOf(event).includes(text));
        if (at === -1) throw new Error(`${text} was not told in ${events.map(wordsOf).join("\n")}`);
        seen = at + 1;
      }, waiting),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

function wordsOf(event: DevEvent): string {
  if (event.kind === "log") return event.text;
  if (event.kind === "change") return `${event.action}: ${event.paths.join(" ")}`;
  if (event.kind === "state") return `${event.state} ${event.exitCode ?? ""}`;
  return event.kind === "debug" ? event.language : event.message;
}

const podsOf = async (name: string) =>
  (await connection.client.list(pods, namespace, { labelSelector: `app=${name}` })).items.filter(
    ({ metadata }) => metadata.deletionTimestamp === undefined,
  );

/** What giving back has to restore: the specification and whose its fields are. */
async function stateOf(resource: Resource, name: string): Promise<object> {
  const { metadata, spec } = await connection.client.get(resource, name, namespace);
  const owners = metadata.managedFields
    ?.filter(({ subresource }) => subresource === undefined)
    .map(({ manager, operation, fieldsV1 }) => ({ manager, operation, fieldsV1 }));
  const marks = Object.keys(metadata.annotations ?? {}).filter((key) => key.startsWith("kws.dev/"));
  return { spec, marks, owners };
}

const idle = { command: ["sleep", "1000"] };

test("a StatefulSet's one pod and its claim are developed, and all of its replicas and claims come back", async () => {
  const claim = {
    metadata: { name: "data" },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
  };
  await install(
    "StatefulSet",
    "set",
    {
      command: ["sh", "-c", "hostname >> /data/who; sleep 1000"],
      volumeMounts: [{ name: "data", mountPath: "/data" }],
    },
    {
      serviceName: "set",
      replicas: 2,
      volumeClaimTemplates: [claim],
      persistentVolumeClaimRetentionPolicy: { whenScaled: "Delete", whenDeleted: "Retain" },
    },
  );
  await vi.waitFor(async () => expect(await podsOf("set")).toHaveLength(2), waiting);
  const before = await stateOf(statefulSets, "set");
  const claims = async () =>
    (await connection.client.list(persistentVolumeClaims, namespace)).items.map(
      ({ metadata }) => metadata.uid,
    );
  const own = await claims();
  await write("set", {
    "kws.yaml": "name: set\ndev: { command: [sh, run.sh] }\n",
    "run.sh": 'echo "$(hostname) after $(cat /data/who)"; exec sleep 1000\n',
  });
  {
    await using running = await develop("set");
    await running.told("set-0 after set-0");
    await vi.waitFor(async () => expect(await podsOf("set")).toHaveLength(1), waiting);
    await write("set", { "run.sh": "echo changed; exec sleep 1000\n" });
    await running.told("changed");
  }
  expect(await stateOf(statefulSets, "set")).toEqual(before);
  await vi.waitFor(async () => expect(await podsOf("set")).toHaveLength(2), waiting);
  expect(await claims()).toEqual(own);
});

test("what a HorizontalPodAutoscaler scales is one dev container, and is scaled again afterwards", async () => {
  await install("Deployment", "scaled", idle, { replicas: 3 });
  const scaler = {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name: "scaled", namespace },
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "scaled" },
      minReplicas: 2,
      maxReplicas: 5,
    },
  };
  await connection.client.apply(horizontalPodAutoscalers, scaler, { fieldManager: "helm" });
  const both = async () => [
    await stateOf(deployments, "scaled"),
    await stateOf(horizontalPodAutoscalers, "scaled"),
  ];
  await vi.waitFor(async () => expect(await podsOf("scaled")).toHaveLength(3), waiting);
  const before = await both();
  await write("scaled", {
    "kws.yaml": "name: scaled\ndev: { command: [sh, -c, 'echo here; sleep 1000'] }\n",
  });
  {
    await using running = await develop("scaled");
    await running.told("here");
    const { spec } = await connection.client.get(horizontalPodAutoscalers, "scaled", namespace);
    expect(spec).toMatchObject({ minReplicas: 1, maxReplicas: 1 });
    await vi.waitFor(async () => expect(await podsOf("scaled")).toHaveLength(1), waiting);
  }
  expect(await both()).toEqual(before);
  await vi.waitFor(async () => expect(await podsOf("scaled")).toHaveLength(3), waiting);
});

/** Tells its number, and what is in a file whenever that changes. */
const looking = (word: string) => `
const { readFileSync, watchFile } = require("node:fs");
console.log("${word} " + process.pid);
const tell = () => console.log(process.pid + " reads " + readFileSync("public/page", "utf8"));
watchFile("public/page", { interval: 50 }, tell);
`;

test.each([
  ["mounted", false],
  ["copied", true],
])("rules do what they say with files that are %s, and what fails leaves what runs", async (how, copied) => {
  const name = `rules-${how}`;
  const number = (running: Running, word: string) =>
    running.events
      .map(wordsOf)
      .findLast((text) => text.startsWith(`${word} `))
      ?.slice(word.length + 1);
  const dockerfile = (mark: string) =>
    `FROM kws.local/node:24\nWORKDIR /app\nCOPY . .\nRUN mkdir -p kept && echo ${mark} > /mark && echo ${mark} > kept/mark\n`;
  await write(name, {
    "kws.yaml": `name: ${name}
build: {}
dev:
  command: [sh, -c, 'echo "built $(cat /mark) $(cat kept/mark)"; exec node main.js']
  keep: [kept]
  rules:
    - { path: "public/**", action: sync }
    - { path: schema, action: run, run: [sh, -c, 'cat schema; exit "$(cat code)"'] }
    - { path: Dockerfile, action: rebuild }
    - { path: "**", action: restart }
`,
    Dockerfile: dockerfile("one"),
    "main.js": looking("first"),
    "public/page": "old",
    schema: "",
    code: "3",
  });
  await install("Deployment", name, { ...idle, image: await built(name) });
  await using running = await develop(name, { copied });
  await running.told("built one one");
  await running.told("first ");
  expect(running.events.filter(({ kind }) => kind === "change")).toEqual([]);
  const first = number(running, "first");

  await write(name, { "public/page": "new" });
  await running.told(`${first} reads new`);

  await write(name, { "main.js": looking("second") });
  await running.told("restart: main.js");
  await running.told("second ");
  const second = number(running, "second");
  expect(second).not.toBe(first);

  await write(name, { schema: "migrating badly" });
  await running.told("migrating badly");
  await running.told(`ended with exit code 3 in ${name}`);
  await write(name, { "public/page": "still" });
  await running.told(`${second} reads still`);
  await write(name, { code: "0" });
  await running.told("second ");
  await write(name, { schema: "migrating well" });
  await running.told("migrating well");
  await running.told("second ");
  const third = number(running, "second");

  await write(name, { Dockerfile: "FROM kws.local/node:24\nRUN echo cannot build && false\n" });
  await running.told("building");
  await running.told("Dockerfile:2");
  await write(name, { "public/page": "again" });
  await running.told(`${third} reads again`);
  await write(name, { Dockerfile: dockerfile("two") });
  await running.told("built two two");
});

/** The reference of the service's image, as its stack would build it. */
async function built(name: string): Promise<string> {
  const { buildImages } = await import("../images/build.ts");
  const project = await loadProject(join(dir.path, name, "kws.yaml"));
  const cache = join(dir.path, "cache");
  const [service] = await loadServices(project, { cache, env: process.env, signal });
  if (service === undefined) throw new Error("there is no service");
  const { images } = await buildImages(service, provider, "w", { cache, env: process.env, signal });
  return `${images[0]?.repository}@${images[0]?.digest}`;
}

/** The programs of this machine, in a container. */
const machine = {
  volumes: ["/usr", "/etc/alternatives", "/etc/java-17-openjdk"]
    .filter((path) => existsSync(path))
    .map((path, index) => ({ name: `machine-${index}`, hostPath: { path } })),
};
const machineMounts = machine.volumes.map(({ name, hostPath: { path } }) => ({
  name,
  mountPath: path,
  readOnly: true,
}));

const languages: {
  language: string;
  program: string;
  command: string[];
  file: string;
  source: (word: string) => string;
  more: Record<string, string>;
}[] = [
  {
    language: "python",
    program: "/usr/bin/python3",
    command: ["/usr/bin/python3", "-u", "main.py"],
    file: "main.py",
    source: (word: string) => `import signal\nprint("python says ${word}")\nsignal.pause()\n`,
    more: { "requirements.txt": "" },
  },
  {
    language: "go",
    program: "/usr/bin/go",
    command: ["go", "run", "."],
    file: "main.go",
    source: (word: string) => `package main\n\nfunc main() {\n\tprintln("go says ${word}")\n\tselect {}\n}\n`,
    more: { "go.mod": "module example.com/main\n\ngo 1.19\n" },
  },
  {
    language: "java",
    program: "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
    command: ["/usr/lib/jvm/java-17-openjdk-amd64/bin/java", "Main.java"],
    file: "Main.java",
    source: (word: string) =>
      `class Main { public static void main(String[] args) throws Exception {\n` +
      `System.out.println("java says ${word}"); Thread.sleep(1000000); } }\n`,
    more: {},
  },
];

test.each(languages.filter(({ program }) => existsSync(program)))(
  "$language starts again with what was saved, also after what does not even compile",
  async ({ language, command, file, source, more }) => {
    const name = `in-${language}`;
    const env = ["HOME", "GOCACHE", "GOTMPDIR"].map((key) => ({ name: key, value: "/tmp" }));
    await write(name, { "kws.yaml": `name: ${name}\n`, [file]: source("one"), ...more });
    await install("Deployment", name, { command, env, volumeMounts: machineMounts }, {}, machine);
    await using running = await develop(name);
    await running.told(`${language} says one`);
    await write(name, { [file]: "this is no program(" });
    await running.told("ended 1");
    await write(name, { [file]: source("two") });
    await running.told(`${language} says two`);
    expect(running.events.filter(({ kind }) => kind === "problem")).toEqual([]);
  },
);

test.skipIf(!existsSync("/usr/lib/python3/dist-packages/debugpy") && process.env["CI"] === undefined)(
  "Python waits at its first line for an editor, and stops at its breakpoints",
  async () => {
    const source = (word: string) =>
      `import time\nword = "${word}"\nprint("reached " + word)\ntime.sleep(1000)\n`;
    const command = ["/usr/bin/python3", "-u", "main.py"];
    await write("held", { "kws.yaml": "name: held\n", "requirements.txt": "", "main.py": source("one") });
    await install("Deployment", "held", { command, volumeMounts: machineMounts }, {}, machine);
    await using running = await develop("held", { debug: "hold" });
    const { client, access } = await clusterOf(connection);
    for (const word of ["one", "two"]) {
      if (word === "two") {
        await write("held", { "main.py": source(word) });
        await running.told("restart: main.py");
      }
      await vi.waitFor(async () => {
        const [pod] = await debugPods(client, { service: "held", namespace, port: 5678 }, signal);
        if (pod === undefined) throw new Error("there is no dev pod");
        using editor = openDap(await openPodPort(access, pod, signal));
        expect(await editor.attachAt("/app/main.py", 3, "word")).toBe(`'${word}'`);
        expect(running.events.map(wordsOf)).not.toContain(`reached ${word}`);
        await editor.resume();
        await running.told(`reached ${word}`);
      }, waiting);
    }
  },
);
