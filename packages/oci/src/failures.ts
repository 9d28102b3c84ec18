/** What goes wrong between here and a registry, in words: one place for all, whichever request it was. */
import { UserError, isErrno, messageOf } from "@kws/base/errors";
import type { ErrorCode } from "@kws/base/errors";

/** A registry's answer that is none of those that were expected. */
export class RegistryError extends UserError {
  override name = "RegistryError";
  /** The HTTP status; undefined where no answer came. */
  readonly status: number | undefined;

  constructor(message: string, options: { code: ErrorCode; fix: string; status?: number; cause?: unknown }) {
    super(message, options);
    this.status = options.status;
  }
}

/** `what` was asked for, or with `sends` was to be taken; `said` is the registry's own reason. */
export function statusError(
  host: string,
  what: string,
  { status, said, sends }: { status: number; said: string; sends: boolean },
): RegistryError {
  const { code, why, fix } = status === 404 && sends ? nowhere(host) : kindOf(host, status);
  return new RegistryError(`${what}: ${host} ${why}${said === "" ? "" : `: ${said}`}`, { code, fix, status });
}

function kindOf(host: string, status: number): { code: ErrorCode; why: string; fix: string } {
  if (status === 401 || status === 403) {
    return {
      code: "permission",
      why: status === 401 ? "wants other credentials (401)" : "forbids it (403)",
      fix: `Log in with docker login ${host} or helm registry login ${host}, as somebody who may do this.`,
    };
  }
  if (status === 404) {
    return { code: "not-found", why: "does not have it (404)", fix: "Correct the name, or push it first." };
  }
  if (status === 429) {
    return {
      code: "failed",
      why: "allows no more requests for now (429)",
      fix: `Try again later, or log in with docker login ${host}: registries allow more to those they know.`,
    };
  }
  if (status >= 500) {
    return {
      code: "failed",
      why: `failed (${status})`,
      fix: "Try again later; the fault is the registry's.",
    };
  }
  if (status === 413) {
    return {
      code: "failed",
      why: "takes nothing of this size (413)",
      fix: "Make the layer smaller, or raise the limit of the registry or of the proxy before it.",
    };
  }
  return {
    code: "failed",
    why: `answered ${status}`,
    fix: `Check that ${host} is an OCI registry, and that the name is one it allows.`,
  };
}

/** Registries with projects answer so where there is none of that name, and some of them to those who may not push. */
function nowhere(host: string): ReturnType<typeof kindOf> {
  return {
    code: "not-found",
    why: "has no place for it (404)",
    fix:
      `Correct the registry's address, path included; make the project or repository there first, where ${host} wants that; ` +
      `and log in with docker login ${host} as somebody who may push.`,
  };
}

const certificateErrors = [
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
];

/** From an error of Node's; what is a `UserError` already stays. */
export function connectionError(host: string, what: string, error: unknown): unknown {
  if (error instanceof UserError || !(error instanceof Error) || !("code" in error)) return error;
  const failed = (why: string, fix: string) =>
    new RegistryError(`${what}: ${why}`, { code: "failed", fix, cause: error });
  if (isErrno(error, ...certificateErrors)) {
    return failed(
      `the certificate of ${host} is signed by nobody that this machine trusts (${String(error.code)})`,
      "Name the file with its authority's certificate in NODE_EXTRA_CA_CERTS, and start again.",
    );
  }
  if (isErrno(error, "ERR_TLS_CERT_ALTNAME_INVALID", "CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID")) {
    return failed(
      `the certificate of ${host} is not valid: ${error.message}`,
      "Have the registry's certificate renewed, or use the host name that stands in it.",
    );
  }
  if (isErrno(error, "EPROTO") || String(error.code).startsWith("ERR_SSL")) {
    return failed(
      `${host} does not speak TLS there`,
      `Correct the port; or, where ${host} serves plain HTTP, name it in KWS_INSECURE_REGISTRIES.`,
    );
  }
  if (isErrno(error, "ENOTFOUND", "EAI_AGAIN")) {
    return failed(
      `there is no host ${host}, or its name cannot be looked up (${String(error.code)})`,
      "Correct the name, or check this machine's network.",
    );
  }
  if (isErrno(error, "ECONNREFUSED")) {
    return failed(`nothing listens at ${host} (ECONNREFUSED)`, "Start the registry, or correct its port.");
  }
  if (isTransient(error)) {
    return failed(
      `the connection to ${host} broke (${messageOf(error)})`,
      "Check the network and the registry, and try again; what has arrived is not sent again.",
    );
  }
  return error;
}

/** True for connections that broke, and may not break the next time. */
export function isTransient(error: unknown): boolean {
  return isErrno(error, "ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED", "HPE_INVALID_EOF_STATE");
}

/** The message of an error document (distribution-spec, "Error Codes"), on one line and of a length to be read. */
export function saidIn(body: Uint8Array | undefined): string {
  if (body === undefined) return "";
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    return ""; // A proxy's page in HTML says nothing to anybody.
  }
  const { errors } = (document ?? {}) as { errors?: unknown };
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const { code, message } = (first ?? {}) as { code?: unknown; message?: unknown };
  const text = [message, code].find((field): field is string => typeof field === "string" && field !== "");
  return (text ?? "").replace(/[\p{Cc}\s]+/gu, " ").slice(0, 300);
}
