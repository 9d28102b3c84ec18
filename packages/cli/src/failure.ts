/**
 * How failures are told. For people: what is wrong, where, and what to do next. With `-o json`, on standard error too, one
 * line: `{ "code", "message", "cause", "fix" }`, so that standard output holds results alone.
 */
import { existsSync, statfsSync } from "node:fs";
import { exitCodes, messageOf, UserError } from "@kws/base/errors";
import { ApiError } from "@kws/kube/status";
import { printable, type Style } from "./style.ts";

export interface Failure {
  code: string;
  message: string;
  cause?: string;
  fix?: string;
  /** `file:line:column`. */
  at?: string;
  exitCode: number;
  stack?: string;
}

/** `places` are the folders that kws writes to. */
export function describeFailure(error: unknown, places: string[] = []): Failure {
  if (error instanceof UserError) {
    return {
      code: error.code,
      message: error.message,
      exitCode: error.exitCode,
      ...(error.cause === undefined ? {} : { cause: messageOf(error.cause) }),
      ...(error.fix === undefined ? {} : { fix: error.fix }),
      ...(error.at === undefined ? {} : { at: error.at }),
    };
  }
  if (error instanceof ApiError) return describeApiError(error);
  if (error instanceof Error && error.name === "InterruptError") {
    const fix = "Run the same command again to go on.";
    return { code: "interrupted", message: "interrupted", fix, exitCode: exitCodes.interrupted };
  }
  const errno = errnoOf(error);
  if (errno === "ENOSPC" || errno === "EDQUOT") return describeFullDisk(error, places);
  const known = systemFaults[errno];
  if (known !== undefined) {
    return {
      code: known.code,
      message: `${known.message}: ${messageOf(error)}`,
      fix: known.fix,
      exitCode: exitCodes[known.code],
    };
  }
  return {
    code: "bug",
    message: messageOf(error),
    fix: "This is a fault of kws. Please report it with the lines above.",
    exitCode: exitCodes.bug,
    ...(error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {}),
  };
}

/** On a read-only file system, a recursive mkdir of Node says that what it should make does not exist. */
function errnoOf(error: unknown): string {
  if (!(error instanceof Error && "code" in error)) return "";
  const made = "syscall" in error && error.syscall === "mkdir";
  return made && error.code === "ENOENT" ? "EROFS" : String(error.code);
}

const freeSpace =
  "Free some space: `kws image remove` and `kws cluster reset` remove what kws keeps. " +
  "Or set KWS_HOME to a folder on another disk.";

/** A write that fails does not say where: then it is the place with the least room. */
function describeFullDisk(error: unknown, places: string[]): Failure {
  const path = error instanceof Error && "path" in error ? String(error.path) : fullest(places);
  return {
    code: "failed",
    message: `the disk${path === undefined ? "" : ` of ${path}`} is full: ${messageOf(error)}`,
    fix: freeSpace,
    exitCode: exitCodes.failed,
  };
}

function fullest(places: string[]): string | undefined {
  const rooms = places.filter(existsSync).map((path) => {
    const { bavail, bsize } = statfsSync(path);
    return { path, free: bavail * bsize };
  });
  return rooms.toSorted((a, b) => a.free - b.free)[0]?.path;
}

const systemFaults: Record<string, { code: "failed" | "permission"; message: string; fix: string }> = {
  EACCES: {
    code: "permission",
    message: "permission denied",
    fix: "Change the owner or the mode of that path.",
  },
  EPERM: {
    code: "permission",
    message: "permission denied",
    fix: "Change the owner or the mode of that path.",
  },
  EROFS: {
    code: "permission",
    message: "the file system is read-only",
    fix: "Set KWS_HOME to a folder that can be written.",
  },
  EMFILE: { code: "failed", message: "too many open files", fix: "Raise the limit with `ulimit -n`." },
};

function describeApiError(error: ApiError): Failure {
  const message = `the cluster refused: ${error.message}`;
  if (error.code === 401 || error.code === 403) {
    return {
      code: "permission",
      message,
      fix: "Use a context whose user may do this.",
      exitCode: exitCodes.permission,
    };
  }
  if (error.code === 404) return { code: "not-found", message, exitCode: exitCodes["not-found"] };
  if (error.code === 409)
    return { code: "conflict", message, fix: "Try again.", exitCode: exitCodes.conflict };
  const full = /disk is full|no space left/i.test(message) ? { fix: freeSpace } : {};
  return { code: "failed", message, ...full, exitCode: exitCodes.failed };
}

/** Two or three lines for people, more where a log is repeated. */
export function renderFailure(failure: Failure, style: Style): string {
  const lines = [`${style.red("error:")} ${printable(failure.message)}`];
  if (failure.stack !== undefined) lines.push(style.dim(failure.stack));
  if (failure.at !== undefined) lines.push(`   ${style.dim("at:")} ${failure.at}`);
  if (failure.cause !== undefined && !failure.message.includes(failure.cause)) {
    lines.push(` ${style.dim("why:")} ${printable(failure.cause)}`);
  }
  if (failure.fix !== undefined) lines.push(`  ${style.green("fix:")} ${failure.fix}`);
  return `${lines.join("\n")}\n`;
}

export function failureJson({ exitCode: _exitCode, stack: _stack, ...failure }: Failure): string {
  return `${JSON.stringify(failure)}\n`;
}
