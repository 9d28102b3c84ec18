/** `kws analyze` on a cluster that runs, with a service that says its secret in its log. */
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, type Kws, type Result } from "./kws.ts";

const canary = "canary-in-a-secret-object";

interface Analysis {
  findings: { id: string; severity: string; message: string; where?: string }[];
  counts: Record<string, number>;
  bundle?: { files: string[] };
}

let kws: Kws;
let folder: string;
beforeAll(async () => {
  kws = await newKws();
  folder = await mkdtemp(join(kws.home, "workspace-"));
  const say = "console.log('my token is', process.env.TOKEN); setInterval(() => {}, 1000)";
  const files = {
    "kws.yaml": "name: talk\nservices: [./talker]\n",
    "talker/kws.yaml": "name: talker\nbuild: {}\n",
    "talker/Dockerfile": `FROM kws.local/node:24\nCMD ["node", "-e", "${say}"]\n`,
    "talker/chart/Chart.yaml": "apiVersion: v2\nname: talker\nversion: 1.0.0\n",
    "talker/chart/values.yaml": "image: {}\n",
    "talker/chart/templates/all.yaml": `apiVersion: v1
kind: Secret
metadata: { name: talker }
stringData: { TOKEN: ${canary} }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: talker }
spec:
  selector: { matchLabels: { app: talker } }
  template:
    metadata: { labels: { app: talker } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: talker
          image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}"
          envFrom: [{ secretRef: { name: talker } }]
`,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const started = await run("stack", "start");
  expect(started.code, started.stderr).toBe(0);
});
afterAll(() => kws[Symbol.asyncDispose]());

const run = (...args: string[]): Promise<Result> => kws.run(args, { cwd: folder });

async function analyze(...args: string[]): Promise<Analysis & { code: number }> {
  const { code, stdout, stderr } = await run("analyze", ...args, "-o", "json");
  expect(stdout, stderr).not.toBe("");
  return { code, ...(JSON.parse(stdout) as Analysis) };
}

const said = ({ findings }: Analysis, id: string) =>
  findings.filter((finding) => finding.id === id).map(({ severity }) => severity);

test("a cluster that runs is reached, allows what commands do, and agrees about the time", async () => {
  const found = await analyze();
  for (const id of ["api-server", "api-rights", "clock-skew", "orphans", "api-versions"])
    expect(said(found, id), id).toEqual(["ok"]);
  for (const id of ["namespaces", "overlay", "file-events", "schema", "dependencies", "chart"])
    expect(said(found, id), id).toEqual(["ok"]);
  expect(said(found, "probes")).toEqual(["warning"]);
  expect(found.counts["error"], JSON.stringify(found.findings)).toBe(0);
  expect(found.code).toBe(3);
});

test("the archive has the cluster's state and logs, and not the secret that they tell", async () => {
  const path = join(kws.home, "bundle.tar.gz");
  const { bundle } = await analyze("--only", "schema", "--bundle", path);
  const log = bundle?.files.find((file) => file.endsWith("/talker.log"));
  expect(log).toMatch(/^cluster\/talk\/logs\/talker-/);
  expect(bundle?.files).toContain("cluster/daemon.log");
  const text = gunzipSync(await readFile(path)).toString("latin1");
  expect(text).toContain("my token is <redacted>");
  expect(text).not.toContain(canary);
  expect(text).not.toContain(Buffer.from(canary).toString("base64"));
  expect(text).not.toContain(kws.home);
});

test("a service that the workspace no longer has is an orphan, and a fault of a file is exit code 4", async () => {
  await writeFile(join(folder, "kws.yaml"), "name: talk\nservices: []\n");
  const found = await analyze("--only", "orphans");
  expect(found.findings).toMatchObject([{ severity: "warning", where: "Namespace/talk talker" }]);
  await writeFile(join(folder, "kws.yaml"), "name: talk\nservics: []\n");
  expect((await analyze("--only", "schema")).code).toBe(4);
});

test("the shop has no errors, and one of its services is looked at without a cluster", async () => {
  const shop = await analyze(
    "--file",
    join(import.meta.dirname, "../examples/shop"),
    "--only",
    "workspace,service",
  );
  expect(shop.findings.filter(({ severity }) => severity === "error")).toEqual([]);
  const cwd = join(import.meta.dirname, "../examples/shop/payments");
  const alone = await kws.run(["analyze", "payments"], { cwd });
  expect(alone.code, alone.stdout).toBe(0);
  expect(alone.stdout).toContain("0 errors, 0 warnings");
});
