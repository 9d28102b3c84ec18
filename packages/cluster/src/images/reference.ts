/** Image references as people write them, and the one spelling under which the store keeps each. */
import { UserError } from "@kws/base/errors";

/** https://github.com/distribution/reference: an optional host, path components, an optional tag, an optional digest. */
const pattern =
  /^(?<name>(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)(?::(?<tag>[\w][\w.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$/;

export const digestPattern = /^sha256:[0-9a-f]{64}$/;

export interface Reference {
  /** Registry and repository. */
  name: string;
  /** `latest` where neither tag nor digest is written. */
  tag: string | undefined;
  digest: string | undefined;
}

/** Throws a `UserError` with code `config` for what is not a reference. */
export function parseReference(text: string): Reference {
  const groups = pattern.exec(text)?.groups;
  if (groups?.["name"] === undefined) {
    throw new UserError(`"${text}" is not an image reference`, {
      code: "config",
      fix: "write it as name, name:tag or name@sha256:digest, in lower case",
    });
  }
  const digest = groups["digest"];
  const tag = groups["tag"] ?? (digest === undefined ? "latest" : undefined);
  return { name: groups["name"], tag, digest };
}

/** `name:tag`, or `name@digest` where only a digest is written. */
export function canonicalReference(text: string): string {
  const { name, tag, digest } = parseReference(text);
  return tag === undefined ? `${name}@${digest}` : `${name}:${tag}`;
}

/** The hexadecimal part of a digest. */
export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}
