/**
 * The command that a service wants run before its image is built, such as `npm ci --omit=dev`. It is skipped while the
 * files that it reads are as they were when it last succeeded.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import { withLock } from "@kws/base/lock";
import type { Build } from "../project/schema.ts";
import { inside, type ProjectService } from "../project/workspace.ts";

export interface PrepareOptions {
  cache: string;
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  onProgress?: (message: string) => void;
}

/** Folders that are made by tools, not by people: present or absent is all that is looked at. */
const produced = new Set([
  "node_modules",
  ".git",
  "dist",
  "build",
  "target",
  ".venv",
  "__pycache__",
  ".cache",
]);
/** What decides an npm install. */
const npmInputs = ["package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"];

const lockTimeoutMs = 30 * 60_000;

/**
 * Runs the function while no other kws prepares the service's folder or builds from it. Two of them may have homes of their own
 * and know nothing of each other, and a command such as `npm ci` removes what the other one is reading.
 */
export function aloneIn<T>(
  { dir }: ProjectService,
  { env }: Pick<PrepareOptions, "env">,
  run: () => Promise<T>,
): Promise<T> {
  const id = createHash("sha256").update(dir).digest("hex").slice(0, 32);
  const folder = env["TMPDIR"] ?? "/tmp";
  return withLock(join(folder, `kws-prepare-${process.getuid?.() ?? ""}-${id}.lock`), run, lockTimeoutMs);
}

/** Runs the command if it has to be; true when it ran. */
export async function prepare(
  service: ProjectService,
  command: NonNullable<Build["prepare"]>,
  options: PrepareOptions,
): Promise<boolean> {
  const argv = Array.isArray(command) ? command : command.run;
  const inputs = Array.isArray(command) ? defaultInputs(argv) : command.inputs;
  const id = createHash("sha256")
    .update(JSON.stringify([service.dir, argv]))
    .digest("hex")
    .slice(0, 32);
  const record = join(options.cache, "prepare", id);
  const before = await fingerprint(service, argv, inputs);
  if (existsSync(record) && (await readFile(record, "utf8")) === before) return false;
  const [file = "", ...args] = argv;
  options.onProgress?.(argv.join(" "));
  const result = await exec(file, args, {
    cwd: service.dir,
    env: options.env,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.onProgress === undefined ? {} : { onLine: options.onProgress }),
  });
  if (result.exitCode !== 0) {
    throw new UserError(
      `${service.name}: \`${argv.join(" ")}\` failed with exit code ${result.exitCode}\n${lastLines(result.stderr || result.stdout, 8)}`,
      { fix: `Run it in ${service.dir} to see all that it says.`, at: service.file.at(["build", "prepare"]) },
    );
  }
  await mkdir(dirname(record), { recursive: true });
  await replaceFile(record, await fingerprint(service, argv, inputs));
  return true;
}

/** npm reads its own few files; of any other command nothing is known, so all of the folder counts. */
function defaultInputs(argv: string[]): string[] | undefined {
  const isInstall = basename(argv[0] ?? "") === "npm" && ["ci", "install", "i"].includes(argv[1] ?? "");
  return isInstall ? npmInputs : undefined;
}

async function fingerprint(
  service: ProjectService,
  argv: string[],
  inputs: string[] | undefined,
): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(argv));
  const add = async (path: string) => {
    const content = await readFile(path);
    hash.update(`${relative(service.dir, path)}\0${content.length}\0`).update(content);
  };
  for (const entry of await readdir(service.dir)) if (produced.has(entry)) hash.update(`/${entry}\0`);
  if (inputs === undefined) {
    for (const path of await walk(service.dir)) await add(path);
    return hash.digest("hex");
  }
  for (const input of inputs) {
    const path = await inside(service.dir, input, service.file.at(["build", "prepare"]));
    if (existsSync(path)) await add(path);
  }
  return hash.digest("hex");
}

async function walk(dir: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(dir, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(dir, entry.name);
    if (entry.isDirectory() && !produced.has(entry.name)) found.push(...(await walk(path)));
    else if (entry.isFile()) found.push(path);
  }
  return found;
}
