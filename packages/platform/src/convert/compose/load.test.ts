import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { convertCompose } from "./convert.ts";

/** Converts files by their names, the first of which is the project's. */
async function convert(files: Record<string, string>) {
  await using dir = await tempDir("kws-load");
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir.path, name)), { recursive: true });
    await writeFile(join(dir.path, name), text);
  }
  const main = join(dir.path, Object.keys(files)[0] ?? "");
  return await convertCompose([main], { env: {}, home: "/home/someone" });
}

test.each([
  ["a service that is a list", "services: { a: [] }", "services.a must be a mapping, not a list", ":1:13"],
  ["a port that is none", "services: { a: { image: x, ports: [a:b] } }", "such as 8080:80", ":1:36"],
  ["a port out of range", "services: { a: { image: x, ports: [70000] } }", "from 1 to 65535", ":1:36"],
  ["an amount that is none", "services: { a: { image: x, mem_limit: lots } }", "such as 512m", ":1:28"],
  [
    "a quote that is not closed",
    `services: { a: { image: x, command: "sh 'a" } }`,
    "quotes are closed",
    ":1:28",
  ],
  ["services in a circle", "services: { a: { extends: b }, b: { extends: a } }", "in a circle", ":1:18"],
  ["a service to extend that is not there", "services: { a: { extends: b } }", 'no service "b"', ":1:18"],
  ["the first version of the format", "web:\n  image: nginx\n", "has no services", ":1:1"],
])("%s is refused with its place", async (_, text, message, place) => {
  const failure: unknown = await convert({ "compose.yaml": text }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "config" });
  expect((failure as Error).message).toContain(message);
  expect((failure as { at: string }).at).toMatch(new RegExp(`compose\\.yaml${place}$`));
});

test("what Compose would refuse and a conversion can do without is told, and the rest is converted", async () => {
  const { services, findings } = await convert({
    "compose.yaml":
      "include: [missing.yaml]\nservices: { a: { image: 'x:${TAG:?}', env_file: no.env, depends_on: [b] } }\n",
  });
  expect(services.map(({ name }) => name)).toEqual(["a"]);
  expect(findings.map(({ severity, key }) => [severity, key])).toEqual([
    ["error", "services.a.image"],
    ["error", "include[0]"],
    ["error", "services.a.env_file"],
    ["error", "services.a.depends_on[0]"],
  ]);
});

test("files that include each other are told", async () => {
  const { findings } = await convert({
    "compose.yaml": "include: [other.yaml]\nservices: { a: { image: x } }\n",
    "other.yaml": "include: [other.yaml]\nservices: { b: { image: x } }\n",
  });
  expect(findings.map(({ message }) => message)).toEqual(["files include each other in a circle"]);
});

test("a password that a variable puts into a command or a check stays a reference, and one for a build is left out", async () => {
  const { files, secrets, findings } = await convert({
    "compose.yaml": `services:
  a:
    image: x
    environment: ["OPTIONS=--password=\${REDIS_PASSWORD}", "PLAIN=\${NAME}"]
    configs: [c]
    command: redis-server --requirepass \${REDIS_PASSWORD} --name \${NAME}
    healthcheck: { test: [CMD, redis-cli, -a, "\${REDIS_PASSWORD}", ping] }
  b: { build: { context: b, args: { NPM_TOKEN: "\${NPM_TOKEN}" } } }
configs: { c: { content: "password \${REDIS_PASSWORD}" } }
`,
    ".env": "REDIS_PASSWORD=hunter two\nNAME=cache\nNPM_TOKEN=hunter three\n",
    "b/Dockerfile": "FROM scratch\n",
  });
  const all = [...files.values()].map(String).join("\n");
  expect(all).not.toContain("hunter");
  expect(all).toContain("- $(REDIS_PASSWORD)\n");
  expect(all).toContain('- redis-cli -a "${REDIS_PASSWORD}" ping\n');
  expect(all).toContain("- cache\n");
  expect(all).toContain("PLAIN: cache\n");
  expect(secrets.map(({ values }) => values)).toEqual([
    {
      secrets: { OPTIONS: "--password=hunter two", REDIS_PASSWORD: "hunter two" },
      secretFiles: { c: "password hunter two" },
    },
  ]);
  expect(findings.map(({ key }) => key)).toEqual(["services.b.build.args.NPM_TOKEN"]);
});

test("a file beside a Dockerfile that does not say where the program is is mounted as configuration", async () => {
  const { files } = await convert({
    "compose.yaml":
      'services: { proxy: { build: proxy, volumes: ["./proxy/site.conf:/etc/nginx/conf.d/default.conf:ro"] } }\n',
    "proxy/Dockerfile": "FROM nginx:1.27\n",
    "proxy/site.conf": "server { listen 80; }\n",
  });
  const templates = [...files]
    .filter(([path]) => path.includes("/templates/"))
    .map(([, text]) => String(text));
  expect(templates.join("\n")).toContain("mountPath: /etc/nginx/conf.d/default.conf");
});
