/** Pipelines as their users have them: a new service with a datastore, in git, with steps of its own and a real registry. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { registryMissing, startDockerRegistry } from "@kws/oci/testing/docker-registry";
import type { KubeClient } from "@kws/kube/client";
import { namespaces, pods } from "@kws/kube/resources";
import { encrypt } from "@kws/sops/file";
import { ageKeys } from "@kws/sops/testing/keyring";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, type Kws, type Result } from "./kws.ts";

interface Job {
  job: string;
  outcome: string;
  why?: string;
  attempts: number;
  outputs: Record<string, string>;
  cache?: string;
}

interface Run {
  run: string;
  service: string;
  outcome: string;
  folder: string;
  jobs: Job[];
}

const secret = "Zq7canary-potato-4711";

let kws: Kws;
let client: KubeClient;
let shop: string;

const git = (...args: string[]) =>
  execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@example.com", ...args], {
    cwd: shop,
    encoding: "utf8",
  });

function commit(message: string): void {
  git("add", "--all");
  git("commit", "--quiet", "--message", message);
}

async function write(files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(shop, name, ".."), { recursive: true });
    await writeFile(join(shop, name), text);
  }
}

const pipeline = (...args: string[]): Promise<Result> =>
  kws.run(["pipeline", "run", "--local", ...args, "-o", "json"], { cwd: shop });

function runsOf({ stdout, stderr }: Result): Run[] {
  expect(stdout, stderr).not.toBe("");
  return (JSON.parse(stdout) as { runs: Run[] }).runs;
}

const outcomes = (run: Run | undefined) =>
  Object.fromEntries((run?.jobs ?? []).map(({ job, outcome }) => [job, outcome]));

async function logOf(run: string, step: string): Promise<string> {
  return (await kws.run(["pipeline", "logs", run, step])).stdout;
}

const left = async () =>
  (await client.list(namespaces, undefined, { labelSelector: "kws.dev/run" })).items.map(
    ({ metadata }) => metadata.name,
  );

/** Debian's own server with the libraries that it needs. */
async function redisImage(folder: string): Promise<void> {
  const program = execFileSync("which", ["redis-server"], { encoding: "utf8" }).trim();
  const libraries = execFileSync("ldd", [program], { encoding: "utf8" }).matchAll(/=> (\/\S+)/g);
  await mkdir(join(folder, "lib"), { recursive: true });
  await copyFile(program, join(folder, "redis-server"));
  for (const [, path = ""] of libraries) await copyFile(path, join(folder, "lib", basename(path)));
  await writeFile(
    join(folder, "Dockerfile"),
    `FROM kws.local/node:24
COPY . /opt/redis
ENV LD_LIBRARY_PATH=/opt/redis/lib
USER node
EXPOSE 6379
ENTRYPOINT ["/opt/redis/redis-server", "--save", "", "--protected-mode", "no"]
`,
  );
}

const counter = {
  "counter/count.js": `const { connect } = require("node:net");
exports.count = (host) => new Promise((resolve, reject) => {
  const socket = connect(6379, host, () => socket.write("INCR visits\\r\\n"));
  socket.on("error", reject).on("data", (data) => { socket.end(); resolve(Number(data.toString().slice(1))); });
});
`,
  "counter/main.js": `require("node:http").createServer((_q, r) => r.end("ok")).listen(8080);\n`,
  "counter/count.test.js": `const { test } = require("node:test");
const { equal } = require("node:assert");
const { count } = require("./count.js");
test("counts", async () => { equal(await count("redis"), 1); equal(await count("redis"), 2); });
`,
  "counter/Dockerfile": `FROM kws.local/node:24 AS service
WORKDIR /app
COPY count.js main.js ./
USER node
EXPOSE 8080
CMD ["node", "main.js"]
FROM service AS test
COPY count.test.js ./
FROM service
`,
  "other/Dockerfile": `FROM kws.local/node:24
USER node
EXPOSE 8080
CMD ["node", "-e", "require('http').createServer((q, r) => r.end('other')).listen(8080)"]
`,
};

const unit = `tests:
  unit:
    target: test
    run: [node, --test, --test-reporter=junit, --test-reporter-destination=/reports/unit.xml]
    datastores: { redis: { service: redis, ports: [6379] } }
`;

let counterYaml: string;

beforeAll(async () => {
  kws = await newKws();
  shop = join(kws.home, "shop");
  await mkdir(shop);
  await write(counter);
  await redisImage(join(shop, "redis"));
  const made = await kws.run(["init", "--name", "shop", "--yes"], { cwd: shop });
  expect(made.code, made.stderr).toBe(0);
  counterYaml = `${await readFile(join(shop, "counter/kws.yaml"), "utf8")}${unit}`;
  await write({ "counter/kws.yaml": counterYaml });
  git("init", "--quiet", "--initial-branch=main");
  commit("The shop");
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
  client = await kws.client();
});
afterAll(() => kws[Symbol.asyncDispose]());

test("the usual pipeline does only what is new, whatever branch has it", async () => {
  const result = await pipeline("counter");
  const [first] = runsOf(result);
  expect(outcomes(first), JSON.stringify(first)).toMatchObject({
    check: "passed",
    datastores: "passed",
    build: "passed",
    test: "passed",
    publish: "passed",
    notify: "skipped",
  });
});
