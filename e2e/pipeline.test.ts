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
import { afterAll, beforeAll, expect, test, vi } from "vitest";
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

const patience = { timeout: 60_000, interval: 50 };
const secret = "Zq7canary-potato-4711";

let kws: Kws;
let client: KubeClient;
let shop: string;
let kubectl: string;
let kubeconfig: string;

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
  kubeconfig = (await kws.cluster()).kubeconfigPath;
  kubectl = (await kws.json<{ kubectl: { path: string } }>("version")).kubectl.path;
});
afterAll(() => kws[Symbol.asyncDispose]());

test("the usual pipeline does only what is new, whatever branch has it", async () => {
  const result = await pipeline("counter");
  expect(result.code, result.stderr).toBe(0);
  const [first] = runsOf(result);
  expect(outcomes(first)).toEqual({
    check: "passed",
    datastores: "passed",
    build: "passed",
    test: "passed",
    publish: "passed",
    notify: "skipped",
    candidate: "skipped",
  });
  git("checkout", "--quiet", "-b", "feature");
  await write({ "other/README.md": "Another service.\n" });
  commit("A word on another service");
  const [again] = runsOf(await pipeline("counter"));
  expect(outcomes(again)).toEqual(outcomes(first));
  expect(await logOf(again?.run ?? "", "build")).toContain("unchanged");
  expect(await logOf(again?.run ?? "", "test")).toContain("with the same content");

  const changed = runsOf(await pipeline("--since", "main"));
  expect(changed.map(({ service }) => service)).toEqual(["other"]);
  git("checkout", "--quiet", "main");
  expect(await left()).toEqual([]);
});

/** Passes everything on to the registry, but for the first uploads. */
async function faultyProxy(host: string, faults: number): Promise<Server> {
  const [hostname, port] = host.split(":");
  let left = faults;
  const server = createServer((asked, answer) => {
    if (asked.method === "POST" && left-- > 0) {
      asked.resume();
      answer.writeHead(500, { "retry-after": "0" }).end();
      return;
    }
    const { method, url: path, headers } = asked;
    const onward = request({ hostname, port, method, path, headers }, (answered) => {
      answer.writeHead(answered.statusCode ?? 502, answered.headers);
      answered.pipe(answer);
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const rich = `pipeline:
  image: kws.local/node:24
  services: { redis: { service: redis, ports: [6379] } }
  secrets: { TOKEN: { file: ci.secrets.yaml, key: token } }
  steps:
    - check
    - name: secret
      needs: []
      run: |
        printf %s "$TOKEN" | cut -c1-9 | tr -d '\\n'; sleep 0.2; printf %s "$TOKEN" | cut -c10-; echo
        printf %s "$TOKEN" | base64
      secrets: [TOKEN]
    - name: parts
      needs: []
      run: |
        mkdir -p out deps; echo "$PART" > "out/$PART"
        if [ -e deps/kept ]; then echo "kept before"; else touch deps/kept; fi
      matrix: { part: [one, two] }
      env: { PART: "\${matrix.part}" }
      artifacts: { paths: [out] }
      cache: { key: [count.js, "\${matrix.part}"], paths: [deps] }
    - name: join
      run: 'cat out/* ; echo "parts=$(ls out | wc -l)" >> "$KWS_OUTPUTS"'
      outputs: [parts]
    - { name: slow, needs: [], run: sleep 600, timeout: 1s }
    - { name: release, needs: [], run: "true", when: { tag: ["v*"] } }
    - { name: hotfix, needs: [], run: "true", when: { branch: ["hotfix/*"] } }
    - { name: docs, needs: [], run: "true", when: { paths: ["docs/**"] } }
    - uses: datastores
      needs: [check]
    - name: again
      run: >-
        node -e 'require("./count.js").count("redis").then((n) => { console.log("try", n); process.exit(n < 2 ? 1 : 0) })'
      retries: 1
    - name: listen
      needs: [again]
      run: >-
        node -e 'require("http").createServer((q, r) => { r.end("inside"); if (q.url === "/end") process.exit() }).listen(8080)'
    - { uses: build, needs: [check] }
    - { uses: test, needs: [build, again] }
    - { name: allow, needs: [join, test, listen], run: 'test "$PARTS" = 2', env: { PARTS: "\${steps.join.parts}" }, approval: true }
    - { uses: publish, retries: 2 }
`;

/** Of a pod, when it has one. */
async function addressOf(namespace: string, name: string): Promise<string> {
  return vi.waitUntil(async () => {
    const { items } = await client.list(pods, namespace);
    const pod = items.find(({ metadata }) => metadata.name.startsWith(name));
    const { podIP, phase } = (pod?.["status"] ?? {}) as { podIP?: string; phase?: string };
    return phase === "Running" ? podIP : undefined;
  }, patience);
}

/** What is said in a pod that there is. */
function execIn(namespace: string, pod: string, ...command: string[]): string {
  return execFileSync(kubectl, ["exec", "-n", namespace, pod, "-c", "files", "--", ...command], {
    encoding: "utf8",
    env: { HOME: kws.home, KUBECONFIG: kubeconfig, PATH: process.env["PATH"] },
  });
}

const dial = (host: string, port: number) => [
  "node",
  "-e",
  `const socket = require("net").connect(${port}, "${host}"); socket.setTimeout(2000)` +
    `.on("connect", () => end("open")).on("error", () => end("shut")).on("timeout", () => end("shut"));` +
    `function end(said) { console.log(said); process.exit(); }`,
];

const missing = registryMissing(process.env);

test.skipIf(missing !== undefined)(
  `steps of all kinds, shut off from others, end in a package that is installed ${missing ?? ""}`,
  async () => {
    const keys = await ageKeys();
    await mkdir(join(kws.home, ".config/sops/age"), { recursive: true });
    await writeFile(join(kws.home, ".config/sops/age/keys.txt"), `${keys.identity}\n`);
    const settings = {
      format: "yaml",
      keyring: keys.keyring,
      groups: [[keys.key]],
      now: new Date(),
    } as const;
    await write({
      "counter/kws.yaml": counterYaml + rich,
      "counter/ci.secrets.yaml": await encrypt(`token: ${secret}\n`, settings),
    });
    commit("Steps of its own");
    await using registry = await startDockerRegistry(process.env);
    const proxy = await faultyProxy(registry.host, 3);
    try {
      const target = ["--registry", `127.0.0.1:${(proxy.address() as AddressInfo).port}/team`];
      const words = ["counter", "--publish", "--event", "push", "--since", "HEAD", ...target];
      const going = pipeline(...words, "--yes");
      const run = await newRun();
      const namespace = `kws-run-${run}`;
      const [listener, redis] = await Promise.all([
        addressOf(namespace, "listen"),
        addressOf(namespace, "redis"),
      ]);
      await client.create(pods, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "stranger", namespace: "default" },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: "files", image: "kws.local/node:24", command: ["sleep", "600"] }],
        },
      });
      await addressOf("default", "stranger");
      expect(execIn(namespace, "listen-1", ...dial(redis, 6379))).toBe("open\n");
      expect(execIn("default", "stranger", ...dial(redis, 6379))).toBe("shut\n");
      expect(execIn("default", "stranger", ...dial(listener, 8080))).toBe("shut\n");
      expect(execIn(namespace, "listen-1", "node", "-e", `fetch("http://${listener}:8080/end")`)).toBe("");
      const result = await going;
      const [first] = runsOf(result);
      expect(outcomes(first), JSON.stringify(first)).toEqual({
        check: "passed",
        secret: "passed",
        "parts.1": "passed",
        "parts.2": "passed",
        join: "passed",
        slow: "failed",
        release: "skipped",
        hotfix: "skipped",
        docs: "skipped",
        datastores: "passed",
        again: "passed",
        listen: "passed",
        build: "passed",
        test: "passed",
        allow: "passed",
        publish: "passed",
      });
      expect(result.code).toBe(1);
      const job = (name: string) => first?.jobs.find((one) => one.job === name);
      expect(job("again")).toMatchObject({ attempts: 2 });
      expect(await logOf(run, "join")).toContain("one\ntwo\n");
      const said = await logOf(run, "secret");
      expect(said.match(/\*\*\*/g)).toHaveLength(2);
      for (const form of [secret, secret.slice(0, 9), Buffer.from(secret).toString("base64")])
        expect(said).not.toContain(form);

      await using elsewhere = await newKws();
      await elsewhere.run(["cluster", "start"]);
      const deployed = await elsewhere.run(["deploy", "counter", "-p", "local", ...target, "-o", "json"], {
        cwd: shop,
      });
      expect(deployed.code, deployed.stderr).toBe(0);
      expect(JSON.parse(deployed.stdout)).toMatchObject({ service: "counter", changed: true });
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  },
);

/** The run that has just begun. */
async function newRun(): Promise<string> {
  const before = new Set(await left());
  const made = await vi.waitUntil(async () => (await left()).find((name) => !before.has(name)), patience);
  return made.slice("kws-run-".length);
}

const long = `pipeline:
  image: kws.local/node:24
  steps:
    - { name: wait, run: "echo begun; while [ ! -e /kws/go ]; do sleep 0.05; done" }
    - { name: ask, run: "true", approval: true }
`;

test("what was killed is swept, what was interrupted is told, and two runs of one service do not meet", async () => {
  await write({ "counter/kws.yaml": counterYaml + long });
  const killed = kws.spawn(["pipeline", "run", "--local", "counter"], shop);
  const lost = await newRun();
  const follow = kws.run(["pipeline", "logs", lost, "--follow"]);
  await addressOf(`kws-run-${lost}`, "wait");
  killed.kill("SIGKILL");
  await once(killed, "exit");
  await follow;

  const both = [pipeline("counter"), pipeline("counter", "--yes")];
  const found = new Set<string>();
  await vi.waitUntil(async () => {
    for (const name of await left()) {
      if (name === `kws-run-${lost}` || found.has(name)) continue;
      await addressOf(name, "wait");
      execIn(name, "wait-1", "touch", "/kws/go");
      found.add(name);
    }
    return found.size === 2;
  }, patience);
  const results = await Promise.all(both);
  expect(results.map(({ code }) => code)).toEqual([1, 0]);
  const [refused] = runsOf(results[0] ?? { code: 0, stdout: "", stderr: "" });
  expect(refused?.jobs[1]).toMatchObject({ job: "ask", outcome: "failed", attempts: 0 });
  expect(refused?.jobs[1]?.why).toContain("no terminal");
  expect(await left()).toEqual([]);

  const stopped = kws.spawn(["pipeline", "run", "--local", "counter"], shop);
  const run = await newRun();
  await addressOf(`kws-run-${run}`, "wait");
  const folder = join(kws.home, ".local/share/kws/pipelines", run);
  const following = kws.run(["pipeline", "logs", run, "wait", "--follow"]);
  stopped.kill("SIGINT");
  await once(stopped, "exit");
  expect((await following).code).toBe(0);
  expect(JSON.parse(await readFile(join(folder, "run.json"), "utf8"))).toMatchObject({
    outcome: "cancelled",
    jobs: [],
  });
  expect(await left()).toEqual([]);
});
