/** References as people write them: `registry.example.com/team/orders:1.2.0`, `team/orders@sha256:…`, `orders`. */
import { UserError } from "@kws/base/errors";

/** https://github.com/distribution/reference: an optional host, path components, an optional tag, an optional digest. */
const pattern =
  /^(?<name>(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)(?::(?<tag>[\w][\w.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$/;

/** A tag alone (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests). */
export const tagPattern = /^\w[\w.-]{0,127}$/;

export interface Reference {
  /** Registry and repository. */
  name: string;
  /** `latest` where neither tag nor digest is written. */
  tag: string | undefined;
  digest: string | undefined;
}

export function isReference(text: string): boolean {
  return pattern.test(text);
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

/** The one spelling under which a folder keeps it: `name:tag`, or `name@digest` where only a digest is written. */
export function canonicalReference(text: string): string {
  const { name, tag, digest } = parseReference(text);
  return tag === undefined ? `${name}@${digest}` : `${name}:${tag}`;
}

/**
 * The one registry whose images are written without a host, and whose name is neither the host that answers for it nor the
 * one that credentials are kept under (https://github.com/distribution/reference/blob/main/normalize.go).
 */
const familiar = {
  host: "docker.io",
  address: "registry-1.docker.io",
  credentials: "index.docker.io",
  namespace: "library",
};

export interface RepositoryAddress {
  /** As people write it, with the port where there is one. */
  host: string;
  /** The repository inside the registry. */
  path: string;
  /** The host to connect to. */
  address: string;
  /** The host that credentials are kept under. */
  credentials: string;
}

/** Where the repository of a reference's name is. The first component is a host where it could be nothing else. */
export function repositoryAddress(name: string): RepositoryAddress {
  const cut = name.indexOf("/");
  const first = cut === -1 ? "" : name.slice(0, cut);
  const isHost = /[.:A-Z]/.test(first) || first === "localhost";
  const host = isHost ? first : familiar.host;
  const path = isHost ? name.slice(cut + 1) : name;
  if (host !== familiar.host) return { host, path, address: host, credentials: host };
  const { address, credentials, namespace } = familiar;
  return { host, path: path.includes("/") ? path : `${namespace}/${path}`, address, credentials };
}
