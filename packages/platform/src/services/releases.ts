/**
 * The Helm releases that kws made, read from the labels of Helm's own Secrets: what is installed, in which stack, from
 * which content. Nothing is remembered anywhere else.
 */
import { UserError } from "@kws/base/errors";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { secrets } from "@kws/kube/resources";
import { suggest } from "../project/nearest.ts";
import {
  fingerprintLabel,
  partProfilePrefix,
  partVersionPrefix,
  profileLabel,
  serviceLabel,
  stackLabel,
  versionLabel,
  workloadsLabel,
  workspaceLabel,
} from "./labels.ts";

/** A service of a release that holds several. */
export interface ReleasePart {
  service: string;
  version: string;
  profile: string;
}

export interface Release {
  service: string;
  /** Helm's name for it: the service's, or that of the manifest that it was installed from. */
  release: string;
  /** Where it is the one release of a manifest: all that it holds. */
  parts: ReleasePart[];
  stack: string;
  namespace: string;
  workspace: string;
  revision: number;
  /** Helm's word: `deployed`, `failed`, `pending-install`, … */
  status: string;
  /** Of chart, values and images; empty where it is not known. */
  fingerprint: string;
  /** Of the package; empty where the service was built where it was started. */
  version: string;
  /** Empty where it is not known. */
  profile: string;
  /** That it had when it was ready; undefined where it is not known to have been. */
  workloads: number | undefined;
  /** The revision's Secret. */
  secret: string;
  /** RFC 3339. */
  updatedAt: string;
}

/** The newest revision of every service's release, by stack and name. */
export async function listReleases(
  client: KubeClient,
  filter: { stack?: string; signal?: AbortSignal } = {},
): Promise<Release[]> {
  const list = await client.list(secrets, undefined, {
    labelSelector: `owner=helm,${stackLabel}${filter.stack === undefined ? "" : `=${filter.stack}`}`,
    ...(filter.signal === undefined ? {} : { signal: filter.signal }),
  });
  const newest = new Map<string, Release>();
  for (const release of list.items.map(releaseOf)) {
    const key = `${release.namespace}/${release.release}`;
    if (release.revision > (newest.get(key)?.revision ?? -1)) newest.set(key, release);
  }
  return [...newest.values()]
    .flatMap(servicesOf)
    .sort((a, b) => a.stack.localeCompare(b.stack) || a.service.localeCompare(b.service));
}

/** All revisions that Helm has kept of a release, the newest first. */
export async function listRevisions(
  client: KubeClient,
  place: { namespace: string; release: string; signal?: AbortSignal },
): Promise<Release[]> {
  const list = await client.list(secrets, place.namespace, {
    labelSelector: `owner=helm,name=${place.release},${stackLabel}`,
    ...(place.signal === undefined ? {} : { signal: place.signal }),
  });
  return list.items.map(releaseOf).sort((a, b) => b.revision - a.revision);
}

/** A release for each service of it. */
function servicesOf(release: Release): Release[] {
  return release.parts.length === 0
    ? [release]
    : release.parts.map((part) => Object.assign({}, release, part));
}

/** Of Helm's Secret. */
export function releaseOf({ metadata }: KubeObject): Release {
  const labels = metadata.labels ?? {};
  const parts = Object.entries(labels)
    .filter(([key]) => key.startsWith(partVersionPrefix))
    .map(([key, version]) => {
      const service = key.slice(partVersionPrefix.length);
      const profile = labels[`${partProfilePrefix}${service}`] ?? "";
      return { service, version: version.replace("_", "+"), profile };
    });
  const modified = Number(labels["modifiedAt"] ?? labels["createdAt"] ?? "");
  return {
    service: labels[serviceLabel] ?? labels["name"] ?? "",
    release: labels["name"] ?? "",
    parts,
    namespace: metadata.namespace ?? "",
    stack: labels[stackLabel] ?? "",
    workspace: labels[workspaceLabel] ?? "",
    revision: Number(labels["version"] ?? 0),
    status: labels["status"] ?? "unknown",
    fingerprint: labels[fingerprintLabel] ?? "",
    version: labels[versionLabel]?.replace("_", "+") ?? "",
    profile: labels[profileLabel] ?? "",
    workloads: labels[workloadsLabel] === undefined ? undefined : Number(labels[workloadsLabel]),
    secret: metadata.name,
    updatedAt: later(metadata.creationTimestamp ?? "", modified),
  };
}

/** A new revision's Secret begins with the label of the one before: it may say less than the Secret's own age. */
function later(created: string, modifiedSeconds: number): string {
  const modified = modifiedSeconds > 0 ? new Date(modifiedSeconds * 1000).toISOString() : "";
  return modified > created ? modified : created;
}

/** Those of the namespace, or all where none is named; where they are instead is told. */
export function releasesIn(releases: Release[], namespace: string | undefined): Release[] {
  if (namespace === undefined) return releases;
  const here = releases.filter((release) => release.namespace === namespace);
  const [elsewhere] = releases;
  if (here.length > 0 || elsewhere === undefined) return here;
  const all = [...new Set(releases.map((release) => release.namespace))].join(", ");
  throw new UserError(`no stack is installed in the namespace ${namespace}`, {
    code: "not-found",
    fix: `Name one that has some with -n: ${all}; or leave out -n.`,
  });
}

/**
 * The releases of the named services, in one stack or, where the name is unambiguous, in any. `startable` are names that the
 * workspace knows, installed or not.
 */
export function chooseReleases(
  releases: Release[],
  names: string[],
  stack?: string,
  startable: string[] = [],
): Release[] {
  const inStack = releases.filter((release) => stack === undefined || release.stack === stack);
  if (inStack.length === 0) {
    throw new UserError(
      stack === undefined ? "no stack is installed" : `the stack ${stack} is not installed`,
      {
        code: "not-found",
        fix: `Install it with \`kws stack start${stack === undefined ? "" : ` ${stack}`}\`.`,
      },
    );
  }
  if (names.length === 0) return inStack;
  return names.map((name) => {
    const [found, ...more] = inStack.filter((release) => release.service === name);
    if (found === undefined) {
      throw new UserError(
        `the service "${name}" is not installed${stack === undefined ? "" : ` in the stack ${stack}`}`,
        {
          code: "not-found",
          fix: startable.includes(name)
            ? `Install it with \`kws service start ${name}\`.`
            : suggest(
                name,
                inStack.map((release) => release.service),
                "Install its stack with `kws stack start`.",
              ),
        },
      );
    }
    if (more.length > 0) {
      throw new UserError(`the service "${name}" is in several stacks`, {
        code: "usage",
        fix: `Name one with --stack: ${[found, ...more].map((release) => release.stack).join(", ")}.`,
      });
    }
    return found;
  });
}
