/**
 * How failures are told. For people: what is wrong, where, and what to do next. With `-o json`, on standard error too, one
 * line: `{ "code", "message", "cause", "fix" }`, so that standard output holds results alone.
 */
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

export function describeFailure(error: unknown): Failure {
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
  const errno = error instanceof Error && "code" in error ? String(error.code) : "";
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

const systemFaults: Record<string, { code: "failed" | "permission"; message: string; fix: string }> = {
  ENOSPC: {
    code: "failed",
    message: "the disk is full",
    fix: "Free some space, or set KWS_HOME to a folder on another disk.",
  },
  EDQUOT: {
    code: "failed",
    message: "the disk quota is used up",
    fix: "Free some space, or set KWS_HOME elsewhere.",
  },
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
  return { code: "failed", message, exitCode: exitCodes.failed };
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
