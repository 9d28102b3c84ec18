/** The last step into a container: who the process is, what it may do and what it is told, as lines for descriptor 3. */
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ContainerStartError } from "../../runtime.ts";
import { boundingSet, type Capabilities } from "./capabilities.ts";
import { escapeLine } from "./rootfs.ts";
import { toolArgv } from "./scripts.ts";

export interface ProcessSpec {
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  user: { uid: number; gid: number; additionalGids: number[] };
  capabilities: Capabilities;
  privileged: boolean;
  allowPrivilegeEscalation: boolean;
  /** Whether descriptor 0 is a pipe of the process's own, which its user may open again by name. */
  ownsStdin: boolean;
  tty: boolean;
}

/** What the process that makes containers is allowed itself. */
export interface Powers {
  rootless: boolean;
  capabilities: ReadonlySet<string>;
}

export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Names that a shell cannot carry through, because it gives them a meaning of its own. */
const shellNames =
  /^(IFS|OPTIND|OPTERR|OPTARG|LINENO|PPID|PS[0-4]|UID|EUID|GROUPS|RANDOM|SECONDS|SHELLOPTS|BASH.*|_|PWD|OLDPWD|SHLVL|_kws_.*)$/;

/** The text for descriptor 3. */
export function processPlan(spec: ProcessSpec, powers: Powers): string {
  const { uid, gid, additionalGids } = spec.user;
  const lines: string[] = [];
  const add = (key: string, value: string) => lines.push(key, escapeLine(value));

  const odd: string[] = [];
  const env: Record<string, string> = spec.tty ? { TERM: "xterm", ...spec.env } : { ...spec.env };
  env.PATH ??= defaultPath;
  for (const [name, value] of Object.entries(env)) {
    if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !shellNames.test(name)) add("env", `${name}=${value}`);
    else if (name !== "" && !name.includes("=")) odd.push(`${name}=${value}`);
  }
  if (!powers.rootless && uid !== 0) {
    add("own", String(uid));
    if (spec.ownsStdin || spec.tty) add("own-stdin", String(uid));
  }
  add("cwd", spec.cwd || "/");
  add("program", spec.argv[0] ?? "");

  const words: string[] = [];
  const nested = powers.rootless && (uid !== 0 || gid !== 0);
  if (nested) {
    // One user is mapped in the outer namespace: inside another one it can have the wanted number.
    words.push(...toolArgv("unshare"), "--user", `--map-user=${uid}`, `--map-group=${gid}`, "--keep-caps");
  }
  words.push(...toolArgv("setpriv"));
  if (!powers.rootless) {
    words.push(`--reuid=${uid}`, `--regid=${gid}`);
    words.push(additionalGids.length > 0 ? `--groups=${additionalGids.join(",")}` : "--clear-groups");
  }
  words.push(`--bounding-set=${boundingSet(spec.capabilities, spec.privileged, powers.capabilities)}`);
  words.push("--inh-caps=-all", "--ambient-caps=-all");
  if (!spec.allowPrivilegeEscalation && !spec.privileged) words.push("--no-new-privs");
  if (odd.length > 0) words.push(...toolArgv("env"), ...odd);
  for (const word of [...words, ...spec.argv]) add("arg", word);
  lines.push("end", "");
  return lines.join("\n");
}

/** A descriptor from which the plan can be read, whose file nobody else can find. The caller closes it. */
export function openPlan(folder: string, plan: string): number {
  const path = join(folder, `plan-${randomBytes(8).toString("hex")}`);
  const writer = openSync(path, "wx", 0o600);
  try {
    writeSync(writer, plan);
    return openSync(path, "r");
  } finally {
    closeSync(writer);
    unlinkSync(path);
  }
}

/** What the scripts wrote on descriptor 4: undefined when the program was started, otherwise what the kubelet shows. */
export function startFailure(status: string, program: string): ContainerStartError | undefined {
  const text = status.trimEnd();
  if (text === "started" || text.endsWith("\nstarted")) return undefined;
  const name = JSON.stringify(program);
  const prefix = "unable to start container process: error during container init: exec: ";
  const last = text.slice(text.lastIndexOf("\n") + 1);
  const reason = "RunContainerError";
  if (last === "not in path")
    return new ContainerStartError(reason, `${prefix}${name}: executable file not found in $PATH`);
  if (last === "missing")
    return new ContainerStartError(reason, `${prefix}${name}: stat ${program}: no such file or directory`);
  if (last === "denied") return new ContainerStartError(reason, `${prefix}${name}: permission denied`);
  return new ContainerStartError(
    "CreateContainerError",
    text || "the container's set-up ended without a word",
  );
}

/** As a shell counts it: 128 plus the signal's number when a signal ended the process. */
export function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  if (code !== null) return code;
  return 128 + (signal ? constants.signals[signal] : 0);
}
