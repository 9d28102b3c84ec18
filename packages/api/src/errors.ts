/**
 * The table of errors that the server answers: what each is called, its HTTP status, and which of the exit codes of the
 * command line it becomes. Server and client throw the same class, so that a failure reads the same on both sides.
 */
import { type ErrorCode, UserError, type UserErrorOptions } from "@kws/base/errors";
import { type Static, Type } from "typebox";

interface ErrorKind {
  status: number;
  exit: ErrorCode;
}

/** By the `code` of an answer. Every code of a `UserError` is in it. */
export const errorTable = {
  usage: { status: 400, exit: "usage" },
  unauthenticated: { status: 401, exit: "permission" },
  permission: { status: 403, exit: "permission" },
  "not-found": { status: 404, exit: "not-found" },
  conflict: { status: 409, exit: "conflict" },
  "too-large": { status: 413, exit: "usage" },
  config: { status: 422, exit: "config" },
  failed: { status: 422, exit: "failed" },
  "too-many": { status: 429, exit: "failed" },
  bug: { status: 500, exit: "failed" },
  "tool-missing": { status: 501, exit: "tool-missing" },
  degraded: { status: 503, exit: "degraded" },
  interrupted: { status: 503, exit: "interrupted" },
  unavailable: { status: 503, exit: "failed" },
  timeout: { status: 504, exit: "timeout" },
} as const satisfies Record<
  ErrorCode | "bug" | "unavailable" | "unauthenticated" | "too-large" | "too-many",
  ErrorKind
>;

export type ApiErrorCode = keyof typeof errorTable;

/** The body of every answer that is no success. */
export const ErrorBody = Type.Object({
  code: Type.String({ description: "What kind of error it is, for programs." }),
  message: Type.String(),
  fix: Type.Optional(Type.String({ description: "What to do next." })),
  at: Type.Optional(Type.String({ description: "Where in the request, or in a file, the fault lies." })),
  requestId: Type.String({ description: "The same as in the server's log." }),
});
export type ErrorBody = Static<typeof ErrorBody>;

export interface ApiErrorOptions extends Omit<UserErrorOptions, "code"> {
  requestId?: string;
  /** Seconds after which it is worth trying again. */
  retryAfter?: number;
}

/** For the codes that have no exit code of their own; a `UserError` does for the others. */
export class ApiError extends UserError {
  override name = "ApiError";
  readonly reason: ApiErrorCode;
  readonly requestId: string | undefined;
  readonly retryAfter: number | undefined;

  constructor(reason: ApiErrorCode, message: string, options: ApiErrorOptions = {}) {
    super(message, { ...options, code: errorTable[reason].exit });
    this.reason = reason;
    this.requestId = options.requestId;
    this.retryAfter = options.retryAfter;
  }

  get status(): number {
    return errorTable[this.reason].status;
  }
}

/** What a failed answer says, as what the server threw. */
export function toApiError(body: ErrorBody, retryAfter?: number): ApiError {
  const reason = body.code in errorTable ? (body.code as ApiErrorCode) : "failed";
  const { message, fix, at, requestId } = body;
  return new ApiError(reason, message, { fix, at, requestId, retryAfter });
}
