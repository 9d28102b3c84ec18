/** What Compose projects become, and that the real helm takes it. */
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "@kws/base/exec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { plannedText, type TestTools, testTools, writePlanned } from "../testing/render.ts";
import { convertCompose } from "./convert.ts";
import { composeFiles } from "./detect.ts";

const testdata = fileURLToPath(new URL("testdata/", import.meta.url));
let out: string;
let tools: TestTools;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), "kws-compose-"));
  tools = await testTools();
});
afterAll(() => rm(out, { recursive: true, force: true }));

test.each(["shop", "merged", "everything"])(
  "%s: files, charts that helm takes, and findings",
  async (name) => {
    const root = join(out, name);
    await cp(join(testdata, name), root, { recursive: true });
    const conversion = await convertCompose(composeFiles(root), { env: {}, home: "/home/someone" });
    await writePlanned(conversion);
    const { helm, env } = tools;
    for (const { name: service, dir } of conversion.services) {
      const chart = join(dir, "chart");
      const secrets = conversion.secrets.find(({ path }) => dirname(path) === join(chart, "profiles/local"));
      const values = ["--values", join(chart, "profiles/local/values.yaml"), "--values", "-"];
      const input = JSON.stringify(secrets?.values ?? {});
      await run(helm, ["lint", "--strict", chart, ...values], { env, input });
      const { stdout } = await run(helm, ["template", service, chart, ...values], { env, input });
      await expect(stdout).toMatchFileSnapshot(join(testdata, `${name}.${service}.rendered.yaml`));
    }
    await expect(plannedText(conversion, root)).toMatchFileSnapshot(join(testdata, `${name}.expected.txt`));
  },
);

test("services that are built from the workspace's own folder are developed from there", async () => {
  const root = join(out, "flat");
  await mkdir(join(root, "src"), { recursive: true });
  await writeFile(join(root, "Dockerfile"), "FROM kws.local/node:24\n");
  await writeFile(
    join(root, "compose.yaml"),
    `services:
  web:
    build: .
    develop: { watch: [{ action: sync, path: ./src, target: /code/src }] }
  tools: { build: ., profiles: [tools] }
`,
  );
  const { files, findings, stacks } = await convertCompose(composeFiles(root), {
    env: {},
    home: "/home/someone",
  });
  expect(findings).toEqual([]);
  expect(stacks).toEqual(["flat", "flat-tools"]);
  expect(parse(String(files.get(join(root, "web/kws.yaml"))))).toMatchObject({
    dev: { source: "..", workdir: "/code", rules: [{ path: "src/**", action: "sync" }] },
  });
});

test("health checks of Dockerfiles are carried, HTTP ports are those known for it, and volumes of others are mounted", async () => {
  const root = join(out, "checks");
  await mkdir(join(root, "api"), { recursive: true });
  await writeFile(
    join(root, "api/Dockerfile"),
    "FROM kws.local/node:24\nHEALTHCHECK --interval=5s --retries=2 \\\n  CMD curl -fsS http://localhost:7070/health || exit 1\n",
  );
  await writeFile(
    join(root, "compose.yaml"),
    `services:
  api:
    build: ./api
    ports: ["7070:7070"]
    volumes: [uploads:/uploads, /scratch]
  beats:
    image: registry.example.com/beats:1
    ports: ["5044:5044"]
    healthcheck: { test: curl -f http://localhost:5066/ }
    volumes_from: ["api:ro", "container:other"]
  plain: { image: "registry.example.com/plain:1", ports: ["6100:6100"], environment: { SELF: "http://plain:6100" } }
volumes: { uploads: {} }
`,
  );
  const { files, findings } = await convertCompose(composeFiles(root), { env: {}, home: "/home/someone" });
  const chartFile = (path: string) => String(files.get(join(root, path)) ?? "");
  expect(
    chartFile("api/chart/templates/deployment.yaml") + chartFile("api/chart/templates/statefulset.yaml"),
  ).toMatch(
    /readinessProbe:\s+httpGet:\s+path: "?\/health"?\s+port: 7070\s+periodSeconds: 5\s+timeoutSeconds: 30\s+failureThreshold: 2/,
  );
  const hosts = ["api", "beats", "plain"].filter((name) =>
    files.has(join(root, name, "chart/templates/ingress.yaml")),
  );
  expect(hosts).toEqual(["api", "plain"]);
  expect(chartFile("beats/chart/templates/deployment.yaml")).toMatch(
    /mountPath: \/uploads\s+subPath: data\s+readOnly: true/,
  );
  expect(findings.map(({ severity, key, message }) => `${severity} ${key} ${message}`)).toEqual(
    expect.arrayContaining([
      "note services.api.build the HEALTHCHECK of the Dockerfile became the readiness probe",
      expect.stringMatching(/^note services.beats.healthcheck the probe runs curl/),
      "warning services.beats.volumes_from[0] /scratch of api is not shared: it has no name",
      "error services.beats.volumes_from[1] nothing is mounted from a container of elsewhere",
      expect.stringMatching(/^note services.beats.ports.* port 5044 is not published/),
    ]),
  );
});

test.each([
  ["", 'CMD ["node", "server.js"]', "restart"],
  ["command: npx nodemon server.js", 'CMD ["node", "server.js"]', "sync"],
  ["", "CMD nodemon server.js", "sync"],
])("a mounted source of a program with %j and %j: %s", async (command, line, action) => {
  const root = join(out, `mounted-${action}-${command.length}`);
  await mkdir(root, { recursive: true });
  await writeFile(join(root, "package.json"), "{}");
  await writeFile(join(root, "Dockerfile"), `FROM kws.local/node:24\nWORKDIR /code\nCOPY . .\n${line}\n`);
  const service = ["build: .", "volumes: [.:/code]", command].filter((one) => one !== "").join("\n    ");
  await writeFile(join(root, "compose.yaml"), `services:\n  web:\n    ${service}\n`);
  const { files } = await convertCompose(composeFiles(root), { env: {}, home: "/home/someone" });
  const [kws = ""] = [...files]
    .filter(([path]) => path.endsWith("web/kws.yaml"))
    .map(([, text]) => String(text));
  expect(parse(kws)).toMatchObject({ dev: { rules: [{ path: "**", action }] } });
});

test("what may take its time to become healthy has a startup probe, and one change has one rule", async () => {
  const root = join(out, "slow");
  await mkdir(root, { recursive: true });
  await writeFile(
    join(root, "Dockerfile"),
    "FROM kws.local/node:24\nWORKDIR /code\nHEALTHCHECK --interval=20s --start-period=1m --start-interval=2s --retries=4 CMD /check\n",
  );
  await writeFile(
    join(root, "compose.yaml"),
    `services:
  built:
    build: .
    volumes: [.:/code]
    develop: { watch: [{ action: rebuild, path: ., target: /code }] }
    secrets: [{ source: token, mode: 0400 }]
  slow:
    image: registry.example.com/search:1
    healthcheck: { test: [CMD, /check], interval: 3s, start_period: 2m }
  quick:
    image: registry.example.com/quick:1
    healthcheck: { test: [CMD, /check], start_interval: 1s }
secrets: { token: { file: Dockerfile } }
`,
  );
  const { files, findings } = await convertCompose(composeFiles(root), { env: {}, home: "/home/someone" });
  const file = (path: string) => String(files.get(join(root, path)) ?? "");
  const deployment = (name: string) => file(`${name}/chart/templates/deployment.yaml`);
  const probe = (name: string, period: number, threshold: number) =>
    new RegExp(
      `${name}Probe:\\s+exec:[^:]+command:[^:]+periodSeconds: ${period}\\s+timeoutSeconds: 30\\s+failureThreshold: ${threshold}\\b`,
    );
  expect(deployment("built")).toMatch(probe("startup", 2, 34));
  expect(deployment("built")).toMatch(probe("readiness", 20, 4));
  expect(deployment("slow")).toMatch(probe("startup", 3, 43));
  expect(deployment("quick")).not.toContain("startupProbe");
  expect(parse(file("built/kws.yaml"))).toMatchObject({
    dev: { rules: [{ path: "**", action: "rebuild" }] },
  });
  expect(findings.map(({ severity, key, message }) => `${severity} ${key} ${message}`)).toContain(
    "note services.built.secrets[0].mode every user of the container may read the file",
  );
});
