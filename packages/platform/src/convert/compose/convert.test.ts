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
