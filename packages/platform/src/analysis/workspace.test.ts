/** On real folders, repositories and charts that real Helm renders. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { run as exec } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { encrypt } from "@kws/sops/file";
import { ageKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeEach, expect, test } from "vitest";
import { analyze } from "./analyze.ts";
import { lines, run, subjectIn, writeFiles } from "./testing/subject.ts";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir("kws-analyze");
});
afterEach(() => dir[Symbol.asyncDispose]());

const told = async (...only: string[]) => lines(await run(subjectIn(dir.path), ...only), dir.path);

async function git(...args: string[]): Promise<void> {
  const who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"];
  await exec("git", ["-C", dir.path, ...who, ...args], {
    env: { PATH: process.env["PATH"], HOME: dir.path },
  });
}

const template = (name: string, container: string, pod = "") => `apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
${pod}      containers:
        - name: app
${container}`;

const ingress = (name: string, host: string) => `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: ${name} }
spec:
  rules: [{ host: ${host}, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: ${name}, port: { number: 80 } } } }] } }]
`;

const chart = (service: string, templates: Record<string, string>) => ({
  [`${service}/chart/Chart.yaml`]: `apiVersion: v2\nname: ${service}\nversion: 1.0.0\n`,
  [`${service}/chart/values.yaml`]: "image: {}\n",
  ...Object.fromEntries(
    Object.entries(templates).map(([name, text]) => [`${service}/chart/templates/${name}.yaml`, text]),
  ),
});

test("every fault of every file is told, each with its place and what was meant", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a, ./b, ./c, ./gone]\ncluster: { provder: kind }\nstackz: {}\n",
  });
  expect(await told("schema")).toEqual([
    'error kws.yaml:2:12: unknown key "provder" in cluster',
    'error kws.yaml:3:1: unknown key "stackz"',
  ]);
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a, ./b, ./c, ./gone]\n",
    "a/kws.yaml": "name: A B\ntags: x\nbuild: { dockerfil: y }\n",
    "b/kws.yaml": "name: b\n",
    "c/kws.yaml": "name: [\n",
  });
  const found = await told("schema");
  expect(found.map((line) => line.replace(/: .*/, ""))).toEqual([
    "error a/kws.yaml:1:7",
    "error a/kws.yaml:2:7",
    "error a/kws.yaml:3:10",
    "error c/kws.yaml:2:1",
    "error kws.yaml:1:27",
  ]);
});

test("a cycle is told with its way, and a service alone needs nothing of others", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a, ./b]\n",
    "a/kws.yaml": "name: a\ndependsOn: [b]\n",
    "b/kws.yaml": "name: b\ndependsOn: [a]\n",
  });
  expect(await told("dependencies")).toEqual([
    "error a/kws.yaml:2:13: services depend on each other in a cycle: a → b → a",
  ]);
  const alone = subjectIn(dir.path, { file: join(dir.path, "a/kws.yaml"), chosen: ["a"] });
  expect((await run(alone, "schema", "dependencies")).counts.error).toBe(0);
});

test("a provider that cannot be chosen, and a helm that is not there, are each told once", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a]\nstacks: { one: {} }\n",
    "a/kws.yaml": "name: a\n",
    ...chart("a", {}),
  });
  const refused = () => Promise.reject(new UserError("the context is not on the allow-list"));
  const env = { PATH: process.env["PATH"], HOME: dir.path, KWS_HELM: "/nonexistent" };
  const subject = subjectIn(dir.path, { provider: refused, env });
  const { findings } = await run(subject, "machine", "cluster", "service");
  const told = findings
    .filter(({ severity }) => severity === "error")
    .map(({ id, message }) => [id, message]);
  expect(told).toEqual([
    ["tools", expect.stringContaining("KWS_HELM")],
    ["api-server", "the context is not on the allow-list"],
    ["chart", expect.stringContaining("KWS_HELM")],
  ]);
});

test("without a kws.yaml that is said, and nothing of a workspace is claimed", async () => {
  const subject = subjectIn(dir.path, { file: undefined });
  const { findings } = await run(subject, "workspace", "service");
  expect(findings).toMatchObject([
    { id: "schema", severity: "info", fix: expect.stringContaining("kws init") },
  ]);
});

test("what charts make is looked at as Helm renders it: probes, resources, rights, images, hosts", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./good, ./bad]\nstacks: { one: {} }\n",
    "good/kws.yaml": "name: good\n",
    "bad/kws.yaml": "name: bad\n",
    ...chart("good", {
      deployment: template(
        "good",
        [
          "image: registry.example.com/good:1@sha256:" + "0".repeat(64),
          "readinessProbe: { httpGet: { port: 80 } }",
          "resources: { requests: { cpu: 10m, memory: 10Mi }, limits: { memory: 20Mi } }",
          "securityContext: { runAsNonRoot: true }",
        ]
          .map((line) => `          ${line}\n`)
          .join(""),
      ),
      ingress: ingress("good", "shop.localhost"),
    }),
    ...chart("bad", {
      deployment: template(
        "bad",
        "          image: registry.example.com/bad\n          securityContext: { privileged: {{ true }} }\n",
        "      hostNetwork: true\n",
      ),
      ingress: ingress("bad", "shop.localhost"),
    }),
  });
  expect(await told("chart", "probes", "resources", "security", "images", "ingress-hosts")).toEqual([
    "error shop.localhost/: good in one and bad in one answer for it",
    "error bad: Deployment/bad: the container app is privileged: whoever breaks into it has the node",
    expect.stringMatching(/^warning bad: Deployment\/bad: no container has a readiness probe/),
    expect.stringMatching(/^warning bad: .* has no requests.cpu, requests.memory, limits.memory/),
    "warning bad: Deployment/bad: its pods share the node's network",
    "warning bad: Deployment/bad: the image registry.example.com/bad is whatever was pushed last",
  ]);
});

test("charts that are missing, that Helm refuses, and API versions that are gone", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./none, ./broken, ./old]\nstacks: { one: {} }\n",
    "none/kws.yaml": "name: none\nbuild: {}\n",
    "broken/kws.yaml": "name: broken\n",
    "old/kws.yaml": "name: old\n",
    ...chart("broken", { a: "a: {{ .Values.x }\n" }),
    ...chart("old", { cron: "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: { name: x }\nspec: {}\n" }),
  });
  expect(await told("dockerfile", "chart", "api-versions")).toEqual([
    "error old: old/templates/cron.yaml: Kubernetes no longer serves batch/v1beta1 CronJob",
    expect.stringMatching(/^error none\/kws.yaml:2:8: none cannot be built: none\/Dockerfile does not exist/),
    expect.stringMatching(/^error none\/kws.yaml.*none has no chart/),
    expect.stringMatching(/^error broken\/chart\/templates\/a.yaml:1: Helm cannot use the chart/),
    expect.stringMatching(
      /^warning old\/chart\/templates\/cron.yaml: helm lint: batch\/v1beta1 CronJob is deprecated/,
    ),
  ]);
});

test("Dockerfiles' bases, profiles that no stack has, and services without tests", async () => {
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a]\nstacks: { one: { profile: qa1 }, two: { profile: two } }\n",
    "a/kws.yaml": "name: a\nbuild: {}\n",
    "a/Dockerfile":
      "FROM node:24 AS build\nFROM --platform=linux/amd64 nginx\nFROM build\nFROM ${BASE}\nFROM scratch\n",
    ...chart("a", {}),
    "a/chart/profiles/qa/values.yaml": "",
    "a/chart/profiles/qa1/profile.yaml": "extends: qa\n",
    "a/chart/profiles/forgotten/values.yaml": "",
  });
  expect(await told("base-images", "profiles", "tests")).toEqual([
    "warning a/Dockerfile:2:29: the image nginx is whatever was pushed last",
    "info a/Dockerfile:1:6: the image node:24 is pinned by a tag, which can be pushed again",
    expect.stringMatching(/^info a\/chart\/profiles: a has no profile "two"/),
    expect.stringMatching(/^info a\/chart\/profiles\/forgotten: no stack of the workspace has the profile/),
    "info a/kws.yaml:1:7: a has no tests that could be found",
  ]);
  await writeFiles(dir.path, { "a/src/deep/x.test.js": "" });
  expect(await told("tests")).toEqual([]);
});

test("secrets in the clear, and encrypted ones that no key here opens, by their places alone", async () => {
  const keys = await ageKeys();
  await git("init", "--quiet");
  const sealing = { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now: new Date() } as const;
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a]\n",
    "a/kws.yaml": "name: a\n",
    ...chart("a", {}),
    "a/key.pem": `-----BEGIN PRIVATE KEY-----\n${"canary".repeat(8)}\n-----END PRIVATE KEY-----\n`,
    "a/chart/profiles/local/secrets.yaml": await encrypt("secrets:\n  TOKEN: canary\n", sealing),
  });
  const found = await told("secrets", "secrets-open", "chart");
  expect(found).toContain("error a/key.pem:1:1: holds a secret: private key");
  expect(found).toContainEqual(
    expect.stringMatching(
      /^warning a\/chart\/profiles\/local\/secrets.yaml: no key of yours opens it: it is for age/,
    ),
  );
  expect(found.join("\n")).not.toContain("canary");
});

test("git: half-done merges, and what is not left out, which --fix mends", async () => {
  await git("init", "--quiet", "--initial-branch=main");
  await writeFiles(dir.path, {
    "kws.yaml": "services: [./a]\n",
    "a/kws.yaml": "name: a\n",
    "a/package.json": "{}",
    "a/.gitignore": "dist",
    "a/node_modules/x/x.js": "",
  });
  await git("add", "kws.yaml", "a/kws.yaml");
  await git("commit", "--quiet", "--message", "First");
  await writeFiles(dir.path, { ".git/MERGE_HEAD": "" });
  expect(await told("git", "gitignore")).toEqual([
    `warning ${dir.path}: a merge is half done`,
    expect.stringMatching(/^warning a\/node_modules: git does not leave it out/),
  ]);
  await analyze(subjectIn(dir.path), { only: ["gitignore"], skip: [], fix: true, now: () => 0 });
  expect(await readFile(join(dir.path, "a/.gitignore"), "utf8")).toBe("dist\n/node_modules/\n");
  expect(await told("gitignore")).toEqual([]);
});
