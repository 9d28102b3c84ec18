/** From anything that was thrown to an answer of the error table. */
import { ApiError, type ApiErrorCode, type ErrorBody, errorTable } from "@kws/api/errors";
import { UserError } from "@kws/base/errors";

export interface Failure {
  status: number;
  body: ErrorBody;
  retryAfter?: number;
  /** A fault of the server: its log says more, and the caller is told no details. */
  bug: boolean;
}

export function describeFailure(error: unknown, requestId: string): Failure {
  const known = fromApi(error) ?? fromDatabase(error) ?? fromHttp(error);
  if (known === undefined) {
    const message = "the server failed; its log says why, under the id of this request";
    return { status: errorTable.bug.status, body: { code: "bug", message, requestId }, bug: true };
  }
  const { code, message, fix, at, retryAfter } = known;
  return {
    status: errorTable[code].status,
    body: {
      code,
      message,
      requestId,
      ...(fix === undefined ? {} : { fix }),
      ...(at === undefined ? {} : { at }),
    },
    ...(retryAfter === undefined ? {} : { retryAfter }),
    bug: false,
  };
}

interface Known {
  code: ApiErrorCode;
  message: string;
  fix?: string;
  at?: string;
  retryAfter?: number;
}

function fromApi(error: unknown): Known | undefined {
  if (!(error instanceof UserError)) return undefined;
  const { message, fix, at } = error;
  return error instanceof ApiError
    ? { code: error.reason, message, fix, at, retryAfter: error.retryAfter }
    : { code: error.code, message, fix, at };
}

/** Classes 08 and 57 of PostgreSQL's error codes, and what the system says of a socket nobody listens on. */
const unreachable = /^(08...|57P0.|ECONNREFUSED|ECONNRESET|ENOENT|EPIPE)$/;

function fromDatabase(error: unknown): Known | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? String(error.code) : "";
  const gone =
    unreachable.test(code) ||
    /Connection terminated|timeout exceeded when trying to connect/.test(error.message);
  if (!gone) return undefined;
  return { code: "unavailable", message: "the server's database does not answer", retryAfter: 2 };
}

/** What Fastify refuses before a handler is called. */
function fromHttp(error: unknown): Known | undefined {
  if (!(error instanceof Error) || !("statusCode" in error)) return undefined;
  const status = Number(error.statusCode);
  if (status === 413) return { code: "too-large", message: "the body of the request is too large" };
  if (status === 429) return { code: "too-many", message: error.message };
  if (status < 400 || status >= 500) return undefined;
  if (!("validation" in error)) return { code: "usage", message: error.message };
  const context = "validationContext" in error ? String(error.validationContext) : "body";
  const [first] = error.validation as { instancePath?: string; message?: string }[];
  const where = `${context}${(first?.instancePath ?? "").replaceAll("/", ".")}`;
  return { code: "usage", message: `${where} ${first?.message ?? "is not valid"}`, at: where };
}
