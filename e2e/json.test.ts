/** docs/reference/json.md names every key that commands print with `-o json`, and no other. `kws open` needs a whole shop and is left out. */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "@kws/base/exec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inherited, newKws, repository, type Kws } from "./kws.ts";
import { liveShop } from "./live-shop.ts";

/** Keys by heading; a row that links to another section stands for the keys of that one. */
const documented = new Map<string, { key: string; meaning: string }[]>();
let kws: Kws;
let started: unknown;
let serving: Promise<unknown> | undefined;
let inService: (...args: string[]) => Promise<unknown>;

beforeAll(async () => {
  const page = await readFile(join(repository, "docs/reference/json.md"), "utf8");
  for (const section of page.split(/^## /m).slice(1)) {
    const rows = [...section.matchAll(/^\| (?:`([^`]*)`)? *\| (.*?) *\|$/gm)].filter(
      ([row]) => !row.includes("| ---"),
    );
    const heading = section.slice(0, section.indexOf("\n"));
    documented.set(
      heading,
      rows
        .map(([, key = "", meaning = ""]) => ({ key, meaning }))
        .filter(({ key, meaning }) => key !== "" || meaning.includes("](#")),
    );
  }
  kws = await newKws();
  inService = await serviceWithSecrets();
  started = await kws.json("stack", "start", "shop", "payments", "--file", "examples/shop");
});
afterAll(async () => {
  await kws.run(["server", "stop"]);
  await kws[Symbol.asyncDispose]();
});

function keysOf(heading: string): { key: string; optional: boolean }[] {
  const rows = documented.get(heading);
  if (rows === undefined) throw new Error(`json.md has no section "${heading}"`);
  return rows.flatMap(({ key, meaning }) => {
    const linked = /\]\(#([a-z-]+)\)/.exec(meaning)?.[1];
    if (linked === undefined) return [{ key, optional: meaning.startsWith("only ") }];
    const target =
      [...documented.keys()].find((other) => other.toLowerCase().replaceAll(" ", "-") === linked) ?? linked;
    return keysOf(target).map((inner) => ({
      key: key === "" ? inner.key : `${key}.${inner.key}`,
      optional: inner.optional,
    }));
  });
}

/** `services[].pods[].name` of every leaf. */
function pathsOf(value: unknown, prefix = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => pathsOf(item, `${prefix}[]`));
  if (typeof value !== "object" || value === null) return [prefix];
  return Object.entries(value).flatMap(([key, inner]) =>
    pathsOf(inner, prefix === "" ? key : `${prefix}.${key}`),
  );
}

/** A service whose secrets are encrypted, in a repository of its own with two commits. */
async function serviceWithSecrets(): Promise<(...args: string[]) => Promise<unknown>> {
  const work = join(kws.home, "work");
  const secrets = join(work, "chart/profiles/qa/secrets.yaml");
  await cp(join(repository, "examples/shop/payments"), work, { recursive: true });
  const { recipient } = await kws.json<{ recipient: string }>("secrets", "keygen");
  const git = (...args: string[]) => {
    const who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"];
    return run("git", ["-C", work, ...who, ...args], { env: { ...inherited, HOME: kws.home } });
  };
  await git("init", "--quiet");
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "First");
  await writeFile(secrets, "secrets: { ADMIN_TOKEN: x }\n");
  await writeFile(join(work, ".sops.yaml"), `creation_rules:\n  - age: ${recipient}\n`);
  await kws.run(["secrets", "encrypt", "-i", secrets]);
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "Second");
  return async (...args) => {
    const { stdout, stderr } = await kws.run([...args, "-o", "json"], { cwd: work });
    if (stdout === "") throw new Error(`kws ${args.join(" ")} printed nothing:\n${stderr}`);
    return JSON.parse(stdout) as unknown;
  };
}

const pipeline = <T = unknown>(...args: string[]) =>
  kws.json<T>("pipeline", ...args, "--file", "examples/shop");
let ran: { runs: { run: string }[] };
async function hook(): Promise<unknown> {
  const args = ["server", "hook", "install", ".", "--endpoint", "https://kws.example.com/webhooks/1"];
  const input = `whsec_${Buffer.alloc(32, 1).toString("base64")}\n`;
  const { stdout } = await kws.run([...args, "--name", "acme/work", "-o", "json"], {
    cwd: join(kws.home, "work"),
    input,
  });
  return JSON.parse(stdout) as unknown;
}

/** With the server of this machine. */
async function onServer<T>(...args: string[]): Promise<T> {
  await (serving ??= kws.json("server", "start"));
  return kws.json(...args);
}

/** What an entry says of before and after is as its action has it. */
async function auditEntries(): Promise<unknown> {
  const entries = await onServer<{ before?: object; after?: object }[]>("server", "audit", "list");
  return entries.map(({ before: _before, after: _after, ...rest }) => rest);
}

const secretsFile = "chart/profiles/qa/secrets.yaml";

const anyClone = ["--version", "1.0.0", "--allow-dirty"];

async function rollout(): Promise<unknown> {
  const { folder } = await liveShop(kws);
  await kws.json("stack", "start", "live", "payments", "--file", folder);
  return kws.json("secrets", "rollout", "status", "payments/token", "-p", "live", "--file", folder);
}

async function restored(): Promise<unknown> {
  const result = await kws.json("cluster", "restore", "documented", "--cluster", "copy");
  await kws.json("cluster", "reset", "copy", "--yes");
  return result;
}

/** `payments=VERSION` of what was packaged before. */
async function packaged(): Promise<string> {
  const [one] = await kws.json<{ version: string }[]>("package", "list");
  return `payments=${one?.version ?? ""}`;
}

async function deploy(...args: string[]): Promise<unknown> {
  const where = [
    "--version",
    (await packaged()).replace("payments=", ""),
    "-p",
    "qa1",
    "-n",
    "deployed",
    "--file",
    "examples/shop",
  ];
  return kws.json("deploy", "payments", ...where, ...args);
}

/** In a workspace that pins the service that has a repository of its own. */
async function multi(...args: string[]): Promise<unknown> {
  const file = join(kws.home, "multi/shop/kws.yaml");
  await mkdir(dirname(file), { recursive: true });
  const services = `payments: { git: ${JSON.stringify(join(kws.home, "work"))}, ref: HEAD }`;
  await writeFile(file, `services: { ${services} }\nstacks: { multi: {} }\n`);
  return kws.json(...args, "--file", file);
}

async function convert(): Promise<unknown> {
  const file = join(kws.home, "compose.yaml");
  await writeFile(
    file,
    "services: { web: { image: registry.example.com/web, environment: { TOKEN: x }, unknown: 1 } }\n",
  );
  const { stdout } = await kws.run(["convert", "compose", file, "--dry-run", "-o", "json"]);
  return JSON.parse(stdout) as unknown;
}

const cases: [heading: string, value: () => Promise<unknown>][] = [
  ["kws stack start, kws service start, kws demo", () => Promise.resolve(started)],
  ["kws cluster start, status, stop", () => kws.json("cluster", "status")],
  ["kws cluster list", () => kws.json("cluster", "list")],
  ["kws cluster snapshot", () => kws.json("cluster", "snapshot", "documented")],
  ["kws cluster restore", restored],
  ["kws image list", () => kws.json("image", "list")],
  // The repository may be a shallow clone, and under work.
  ["kws package", () => kws.json("package", "payments", "--file", "examples/shop", ...anyClone)],
  [
    "kws analyze",
    async () => {
      const words = "analyze --only cluster,schema -o json --file examples/shop".split(" ");
      return JSON.parse((await kws.run(words)).stdout) as unknown;
    },
  ],
  ["kws package list", () => kws.json("package", "list")],
  ["kws stack list", () => kws.json("stack", "list")],
  ["kws stack status", () => kws.json("stack", "status", "shop")],
  ["kws service list", () => kws.json("service", "list")],
  ["kws service status", () => kws.json("service", "status", "payments")],
  ["kws service down", () => kws.json("service", "down", "payments")],
  ["kws service test", () => kws.json("service", "test", "payments", "--file", "examples/shop")],
  ["kws pipeline run", async () => (ran = await pipeline<typeof ran>("run", "payments", "--local"))],
  ["kws pipeline logs", () => pipeline("logs", ran.runs[0]?.run ?? "")],
  ["kws pipeline show", () => pipeline("show", "payments", "--event", "push", "--branch", "main")],
  ["kws pipeline lint", () => pipeline("lint", "payments")],
  ["kws pipeline export", () => pipeline("export", "payments", "--format", "github")],
  ["kws service restart", () => kws.json("service", "restart", "payments")],
  [
    "kws service logs",
    async () =>
      JSON.parse((await kws.run(["service", "logs", "payments", "-o", "json"])).stdout.split("\n")[0] ?? ""),
  ],
  ["kws profile list", () => kws.json("profile", "list", "--file", "examples/shop")],
  [
    "kws profile explain",
    () => kws.json("profile", "explain", "payments", "config", "-p", "qa1", "--file", "examples/shop"),
  ],
  [
    "kws profile diff",
    async () => {
      const { stdout } = await kws.run(
        "profile diff payments local qa -o json --file examples/shop".split(" "),
      );
      return JSON.parse(stdout) as unknown;
    },
  ],
  ["kws deploy", () => deploy()],
  ["kws secrets rollout start, status, next, abort", rollout],
  ["kws deploy --dry-run", () => deploy("--set", "replicas=3", "--dry-run")],
  ["kws config history", () => inService("config", "history", "payments", "-p", "qa")],
  ["kws config revert", () => inService("config", "revert", "payments", "HEAD", "-p", "qa", "--dry-run")],
  ["kws secrets updatekeys", () => inService("secrets", "updatekeys", secretsFile)],
  [
    "kws secrets encrypt --in-place, rotate --in-place, edit, set, unset",
    () => inService("secrets", "rotate", "--in-place", secretsFile),
  ],
  ["kws secrets keygen", () => inService("secrets", "keygen")],
  ["kws secrets list", () => inService("secrets", "list")],
  ["kws secrets check", () => inService("secrets", "check")],
  ["kws secrets report", () => inService("secrets", "report", "--max-age", "0")],
  ["kws secrets install-git", () => inService("secrets", "install-git")],
  ["kws server hook install", hook],
  ["kws whoami", () => onServer("whoami")],
  ["kws server token create", () => onServer("server", "token", "create", "ci", "--service", "web")],
  ["kws server token list", () => onServer("server", "token", "list")],
  ["kws server binding add", () => onServer("server", "binding", "add", "viewer", "--team", "web")],
  ["kws server audit list", auditEntries],
  ["kws server audit verify", () => onServer("server", "audit", "verify")],
  [
    "kws secrets merge-driver",
    () => inService("secrets", "merge-driver", secretsFile, secretsFile, secretsFile, secretsFile),
  ],
  [
    "kws manifest build",
    async () => kws.json("manifest", "build", await packaged(), "--file", "examples/shop"),
  ],
  [
    "kws manifest install",
    () => kws.json("manifest", "install", "shop:1", "-n", "deployed", "--file", "examples/shop"),
  ],
  ["kws manifest list", () => kws.json("manifest", "list", "--file", "examples/shop")],
  ["kws manifest show", () => kws.json("manifest", "show", "shop", "--file", "examples/shop")],
  ["kws package remove, prune", () => kws.json("package", "prune", "--keep", "0", "--force", "--yes")],
  ["kws repo clone", () => multi("repo", "clone", "payments")],
  ["kws link", () => multi("link")],
  ["kws repo status", () => multi("repo", "status")],
  ["kws repo pull", () => multi("repo", "pull")],
  ["kws unlink", () => multi("unlink", "payments")],
  ["kws init", () => kws.json("init", "--dry-run")],
  ["kws convert compose, kustomize", convert],
  ["kws version", () => kws.json("version")],
  ["kws service scale", () => kws.json("service", "scale", "payments", "2", "--stack", "shop")],
  ["kws service remove", () => kws.json("service", "remove", "payments", "--yes", "-n", "deployed")],
  ["kws stack remove", () => kws.json("stack", "remove", "shop", "--yes")],
  ["kws cluster reset", () => kws.json("cluster", "reset", "--yes")],
];

test.each(cases)("%s", async (heading, value) => {
  const keys = keysOf(heading);
  const printed = new Set(pathsOf(await value()));
  expect([...printed].filter((path) => !keys.some(({ key }) => key === path))).toEqual([]);
  const absent = keys.filter(({ key, optional }) => !optional && !printed.has(key)).map(({ key }) => key);
  expect(absent).toEqual([]);
});
