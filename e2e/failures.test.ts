/** Stacks that cannot become ready: the reason and the culprit's last words, soon, and not a timeout. */
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, type Kws, type Result } from "./kws.ts";

let kws: Kws;
beforeAll(async () => {
  kws = await newKws();
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
});
afterAll(() => kws[Symbol.asyncDispose]());

/** A workspace of one service with the given program, probe and image. */
async function start(options: { program: string; probe?: string; image?: string }): Promise<Result> {
  const folder = await mkdtemp(join(kws.home, "workspace-"));
  const files: Record<string, string> = {
    "kws.yaml": "name: broken\nservices:\n  api: { path: ./api }\nstacks:\n  broken:\n    services: [api]\n",
    "api/kws.yaml": "name: api\nbuild:\n  dockerfile: Dockerfile\nchart: ./chart\n",
    "api/Dockerfile": 'FROM kws.local/node:24\nCOPY main.js /app/main.js\nCMD ["node", "/app/main.js"]\n',
    "api/main.js": options.program,
    "api/chart/Chart.yaml": "apiVersion: v2\nname: api\nversion: 1.0.0\n",
    "api/chart/values.yaml": "image: { repository: api, tag: latest, digest: '' }\n",
    "api/chart/templates/deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: { name: api }
spec:
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
  return kws.run(["stack", "start", "broken"], { cwd: folder });
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
