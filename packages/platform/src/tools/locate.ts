/** Which helm and kubectl to run: the one that the user names, a recent one on the PATH, or the bundled one. */
import { access, constants, readFile, stat } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { exec } from "@kws/base/exec";
import { bundledTool, type ToolName } from "./bundled.ts";

export interface Tool {
  name: ToolName;
  path: string;
  version: string;
  source: "environment" | "path" | "bundled";
}

export interface ToolOptions {
  env: NodeJS.ProcessEnv;
  cache: string;
  signal?: AbortSignal;
  /** For tests. */
  archive?: string;
  platform?: string;
}

/**
 * helm 4 has server-side apply and watches for readiness. kubectl may be one minor version from the server
 * (https://kubernetes.io/releases/version-skew-policy/), and the embedded cluster is 1.35.
 */
const oldest: Record<ToolName, [number, number]> = { helm: [4, 0], kubectl: [1, 34] };
const variables: Record<ToolName, string> = { helm: "KWS_HELM", kubectl: "KWS_KUBECTL" };

export async function locateTool(name: ToolName, options: ToolOptions): Promise<Tool> {
  const given = options.env[variables[name]];
  if (given !== undefined && given !== "") return named(name, given, options);
  const passedOver: string[] = [];
  for (const dir of (options.env["PATH"] ?? "").split(delimiter)) {
    const path = join(dir, name);
    if (!isAbsolute(dir) || !(await isProgram(path))) continue;
    const version = await versionOf(name, path, options);
    if (version !== undefined && isRecent(name, version)) return { name, path, version, source: "path" };
    passedOver.push(`${path} (${version ?? "not working"})`);
  }
  const own = await bundledTool(name, options);
  if (own !== undefined) return { name, ...own, source: "bundled" };
  const [major, minor] = oldest[name];
  const found = passedOver.length === 0 ? "it is not on the PATH" : `too old: ${passedOver.join(", ")}`;
  throw new UserError(`${name} ${major}.${minor} or newer is needed: ${found}`, {
    code: "tool-missing",
    fix: `Install ${name} and put it on the PATH, or set ${variables[name]} to its path.`,
  });
}

async function named(name: ToolName, path: string, options: ToolOptions): Promise<Tool> {
  if (!(await isProgram(path))) {
    throw new UserError(`${variables[name]} is ${path}, which is not a program`, {
      code: "tool-missing",
      fix: `Set ${variables[name]} to the path of ${name}, or unset it.`,
    });
  }
  const version = await versionOf(name, path, options);
  if (version === undefined) {
    throw new UserError(`${variables[name]} is ${path}, which does not answer like ${name}`, {
      code: "tool-missing",
      fix: `Set ${variables[name]} to the path of ${name}, or unset it.`,
    });
  }
  return { name, path, version, source: "environment" };
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch (error) {
    if (isErrno(error, "ENOENT", "EACCES", "ENOTDIR", "ELOOP", "EPERM", "ENAMETOOLONG")) return false;
    throw error;
  }
}

/** Asked once per file: the answer is remembered in the cache by path, size and time of change. */
async function versionOf(name: ToolName, path: string, options: ToolOptions): Promise<string | undefined> {
  const { size, mtimeMs } = await stat(path);
  const key = `${path}:${size}:${mtimeMs}`;
  const memo = join(options.cache, "tools", "versions.json");
  const known = await readMemo(memo);
  if (known[key] !== undefined) return known[key];
  const args =
    name === "helm" ? ["version", "--template", "{{.Version}}"] : ["version", "--client", "-o", "json"];
  const result = await exec(path, args, {
    env: options.env,
    timeoutMs: 20_000,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const version = /v?(\d+\.\d+\.\d+[^\s"]*)/.exec(
    name === "helm" ? result.stdout : clientVersion(result.stdout),
  )?.[1];
  if (result.exitCode !== 0 || version === undefined) return undefined;
  await makeFolder(dirname(memo));
  await replaceFile(memo, JSON.stringify({ ...known, [key]: version }));
  return version;
}

function clientVersion(text: string): string {
  return /"gitVersion":\s*"([^"]+)"/.exec(text)?.[1] ?? "";
}

async function readMemo(path: string): Promise<Record<string, string>> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Record<string, string>;
  } catch (error) {
    if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return {};
    throw error;
  }
}

function isRecent(name: ToolName, version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [wantedMajor, wantedMinor] = oldest[name];
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
