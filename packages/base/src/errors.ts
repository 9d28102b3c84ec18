/**
 * The two kinds of failure. A `UserError` is something that the person at the keyboard can act on: it says what is wrong,
 * where, and what to do next, and prints without a stack. Everything else that is thrown is a bug.
 */

/** Exit codes of the CLI and, by name, the `code` of errors in JSON output. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  degraded: 3,
  config: 4,
  "not-found": 5,
  timeout: 6,
  permission: 7,
  "tool-missing": 8,
  conflict: 9,
  bug: 70,
  interrupted: 130,
} as const;

export type ErrorCode = Exclude<keyof typeof exitCodes, "ok" | "bug">;

export interface UserErrorOptions {
  /** What to do next, as an imperative sentence. */
  fix?: string;
  /** Decides the exit code; `failed` unless given. */
  code?: ErrorCode;
  /** Where in the user's input the fault lies: `path:line:column`. */
  at?: string;
  cause?: unknown;
}

export class UserError extends Error {
  override name = "UserError";
  readonly code: ErrorCode;
  readonly fix: string | undefined;
  readonly at: string | undefined;

  constructor(message: string, options: UserErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code ?? "failed";
    this.fix = options.fix;
    this.at = options.at;
  }

  get exitCode(): number {
    return exitCodes[this.code];
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for errors of the operating system with the given code, such as `ENOENT`. */
export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
