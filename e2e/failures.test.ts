/** Stacks that cannot become ready: the reason and the culprit's last words, soon, and not a timeout. */
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jobs, namespaces } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, type Kws, type Result } from "./kws.ts";

let kws: Kws;
beforeAll(async () => {
  kws = await newKws();
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
});
afterAll(() => kws[Symbol.asyncDispose]());

interface Broken {
  program: string;
  probe?: string;
  image?: string;
  kind?: "Deployment" | "StatefulSet";
  /** For a service that is started again. */
  folder?: string;
}

const newFolder = () => mkdtemp(join(kws.home, "workspace-"));

/** A workspace of one service with the given program, probe and image. */
async function start(options: Broken): Promise<Result> {
  const folder = options.folder ?? (await newFolder());
  await write(folder, options);
  return kws.run(["stack", "start", "broken"], { cwd: folder });
}

async function write(folder: string, options: Broken): Promise<void> {
  const files: Record<string, string> = {
    "kws.yaml": "name: broken\nservices:\n  api: { path: ./api }\nstacks:\n  broken:\n    services: [api]\n",
    "api/kws.yaml": "name: api\nbuild:\n  dockerfile: Dockerfile\nchart: ./chart\n",
    "api/Dockerfile": 'FROM kws.local/node:24\nCOPY main.js /app/main.js\nCMD ["node", "/app/main.js"]\n',
    "api/main.js": options.program,
    "api/chart/Chart.yaml": "apiVersion: v2\nname: api\nversion: 1.0.0\n",
    "api/chart/values.yaml": "image: { repository: api, tag: latest, digest: '' }\n",
    "api/chart/templates/deployment.yaml": `apiVersion: apps/v1
kind: ${options.kind ?? "Deployment"}
metadata: { name: api }
spec:
  ${options.kind === "StatefulSet" ? "serviceName: api" : "revisionHistoryLimit: 3"}
  selector: { matchLabels: { app: api } }
  template:
    metadata: { labels: { app: api } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: api
          image: ${options.image ?? "{{ .Values.image.repository }}@{{ .Values.image.digest }}"}
          ${options.probe ?? ""}
`,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

test("a service that crashes is named, with its last lines", async () => {
  const { code, stderr } = await start({
    program: "console.error('no database configured'); process.exit(3);",
  });
  expect(code).toBe(1);
  expect(stderr).toContain("api");
  expect(stderr).toContain("CrashLoopBackOff");
  expect(stderr).toContain("no database configured");
});

test("an image that is nowhere is named", async () => {
  const { code, stderr } = await start({ program: "", image: "example/absent:1" });
  expect(code).toBe(1);
  expect(stderr).toContain("example/absent:1");
});

test("a readiness probe that never passes is told as that", async () => {
  const probe =
    "readinessProbe: { httpGet: { path: /ready, port: 8080 }, periodSeconds: 1, failureThreshold: 2 }";
  const program =
    "require('http').createServer((q, r) => { r.statusCode = 500; r.end('still migrating'); }).listen(8080);";
  const { code, stderr } = await start({ program, probe });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/[Rr]eadiness probe failed/);
  expect(stderr).toContain("500");
});

test("a StatefulSet whose pod was broken is rolled out once it is mended", async () => {
  const folder = await newFolder();
  const remove = await kws.run(["stack", "remove", "broken", "--yes"], { cwd: folder });
  expect(remove.code).toBe(0);
  const broken = await start({ kind: "StatefulSet", program: "process.exit(1);", folder });
  expect(broken.code).toBe(1);
  expect(broken.stderr).toContain("CrashLoopBackOff");
  const mended = await start({ kind: "StatefulSet", program: "setInterval(() => {}, 1000);", folder });
  expect(mended.code, mended.stderr).toBe(0);
  expect(mended.stderr).toContain("removed the pod api-0 of the old revision");
});

test("of two starts at once, the second waits for the first", async () => {
  const folder = await newFolder();
  await write(folder, { kind: "StatefulSet", program: "setInterval(() => {}, 2000);" });
  const both = await Promise.all(
    ["first", "second"].map(() => kws.run(["stack", "start", "broken"], { cwd: folder })),
  );
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  expect(both.filter(({ stderr }) => /wait for .*process \d+/.test(stderr))).toHaveLength(1);
});

test("a chart that cannot be rendered is refused with its place, and nothing is changed", async () => {
  const folder = await newFolder();
  await write(folder, { program: "" });
  await writeFile(join(folder, "api/chart/templates/bad.yaml"), "a: b\n{{ nope }}\n");
  const { code, stderr } = await kws.run(["stack", "start", "broken", "-n", "untouched"], { cwd: folder });
  expect(code).toBe(4);
  expect(stderr).toContain(join(folder, "api/chart/templates/bad.yaml:2"));
  const client = await kws.client();
  expect(await client.find(namespaces, "untouched")).toBeUndefined();
});

test("a Dockerfile that cannot be built is refused with its place, and nothing is changed", async () => {
  const folder = await newFolder();
  await write(folder, { program: "" });
  await writeFile(join(folder, "api/Dockerfile"), "FROM kws.local/node:24\nRUN true\nCOPY main.ts /app/\n");
  const { code, stderr } = await kws.run(["stack", "start", "broken", "-n", "untouched"], { cwd: folder });
  expect(code).toBe(4);
  expect(stderr).toContain(join(folder, "api/Dockerfile:3:1"));
  expect(stderr).toContain('"main.ts" matches nothing');
  const client = await kws.client();
  expect(await client.find(namespaces, "untouched")).toBeUndefined();
});

test("after a failed build nothing begins, and the stack is told as incomplete until it is removed", async () => {
  const folder = await newFolder();
  const names = ["bad", "slow", "third"];
  const chart = { "Chart.yaml": "apiVersion: v2\nname: x\nversion: 1.0.0\n", "templates/none.yaml": "" };
  const files: Record<string, string> = {
    "kws.yaml": `name: half\nservices:\n${names.map((name) => `  ${name}: { path: ./${name} }\n`).join("")}`,
  };
  for (const name of names) {
    files[`${name}/kws.yaml`] = `name: ${name}\nbuild: {}\n`;
    files[`${name}/Dockerfile`] = `FROM kws.local/node:24\nRUN ${name === "bad" ? "exit 3" : "sleep 60"}\n`;
    for (const [path, text] of Object.entries(chart)) files[`${name}/chart/${path}`] = text;
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const { code, stderr } = await kws.run(["stack", "start", "half"], { cwd: folder });
  expect(code).toBe(1);
  expect(stderr).toContain("ended with exit code 3");
  expect(stderr).toContain("build slow");
  expect(stderr).not.toMatch(/(build|install) third/);
  const list = await kws.json<{ stack: string }[]>("stack", "list");
  expect(list.find(({ stack }) => stack === "half")).toMatchObject({
    state: "incomplete",
    missing: expect.arrayContaining(["bad", "slow", "third"]),
  });
  const status = await kws.run(["stack", "status", "half"]);
  expect(status.code).toBe(3);
  expect(status.stdout).toMatch(/third +half +missing/);
  expect((await kws.run(["stack", "remove", "half", "--yes"])).code).toBe(0);
  const client = await kws.client();
  expect(await client.find(namespaces, "half")).toBeUndefined();
  expect((await kws.run(["stack", "status", "half"])).code).toBe(5);
});

test("a kws that is killed leaves a stack that starts again", async () => {
  const folder = await newFolder();
  await write(folder, { program: "setInterval(() => {}, 3000);" });
  await writeFile(
    join(folder, "api/chart/templates/hook.yaml"),
    `apiVersion: batch/v1
kind: Job
metadata: { name: api-hook, annotations: { helm.sh/hook: pre-upgrade } }
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: hook
          image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}"
          command: [node, -e, "setTimeout(() => {}, 3000)"]
`,
  );
  const client = await kws.client();
  const killed = kws.spawn(["stack", "start", "broken"], folder);
  await expect.poll(() => client.find(jobs, "api-hook", "broken"), { timeout: 30_000 }).toBeDefined();
  killed.kill("SIGKILL");
  const again = await kws.run(["stack", "start", "broken"], { cwd: folder });
  expect(again.code, again.stderr).toBe(0);
});

test("a kws.yaml with an unknown key is refused with its place, and nothing is changed", async () => {
  const folder = await mkdtemp(join(kws.home, "workspace-"));
  await cp("examples/shop", folder, {
    recursive: true,
    filter: (source) => !source.includes("node_modules"),
  });
  await writeFile(join(folder, "kws.yaml"), "name: shop\nservises:\n  a: { path: ./catalog }\n");
  const { code, stderr } = await kws.run(["stack", "start", "shop"], { cwd: folder });
  expect(code).toBe(4);
  expect(stderr).toContain("kws.yaml:2:1");
  expect(stderr).toContain("services");
  await rm(folder, { recursive: true });
});
