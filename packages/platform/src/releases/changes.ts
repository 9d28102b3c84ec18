/** What a deployment would change, object by object and field by field. No value is told: some are secret, also old ones. */
import { UserError } from "@kws/base/errors";
import { parseAllDocuments } from "yaml";
import { isMapping } from "../charts/layers.ts";
import { keyPath, type KeyPath } from "../project/key-path.ts";
import { listRevisions } from "../services/releases.ts";
import { readRevision } from "../services/revision.ts";
import { ownRelease, refuseForeign } from "../stacks/namespace.ts";
import type { Connection } from "../providers/provider.ts";
import type { DeployOptions } from "./deploy.ts";
import { type Prepared, renderPrepared } from "../packages/prepare.ts";

export interface ObjectChange {
  kind: string;
  name: string;
  change: "created" | "changed" | "removed";
  /** The keys of what differs in one that is changed. */
  fields: string[];
}

export interface Changes {
  service: string;
  stack: string;
  namespace: string;
  profile: string;
  version: string;
  /** The version that runs; empty where there is none, or one that is no package. */
  from: string;
  /** False where no cluster was asked: then every object counts as created. */
  compared: boolean;
  objects: ObjectChange[];
}

export interface ChangesOptions extends Pick<DeployOptions, "stack" | "helm" | "env" | "signal"> {
  /** None where the cluster does not run. */
  connection: Connection | undefined;
}

/** Compares with the revision that Helm has deployed; what was changed by hand since is not seen. */
export async function whatChanges(one: Prepared, options: ChangesOptions): Promise<Changes> {
  const { stack, connection } = options;
  const { service, version } = one.found;
  const running = connection === undefined ? undefined : await runningIn(connection, service, options);
  const manifests = await renderPrepared(one, {
    ...options,
    namespace: stack.namespace,
    ...(connection === undefined ? {} : { kubeconfig: connection.kubeconfig }),
    upgrade: running !== undefined,
  });
  return {
    service,
    stack: stack.name,
    namespace: stack.namespace,
    profile: one.profile,
    version,
    from: running?.version ?? "",
    compared: connection !== undefined,
    objects: compareManifests(running?.manifests ?? "", manifests),
  };
}

async function runningIn(
  connection: Connection,
  service: string,
  { stack, signal }: ChangesOptions,
): Promise<{ version: string; manifests: string } | undefined> {
  await refuseForeign({ connection, stack, signal }, [ownRelease(service)]);
  const { client } = connection;
  const revisions = await listRevisions(client, { namespace: stack.namespace, release: service, signal });
  const deployed = revisions.find(({ status }) => status === "deployed");
  const content = deployed === undefined ? undefined : await readRevision(client, deployed);
  if (deployed === undefined || content === undefined) return undefined;
  return { version: deployed.version, manifests: [content.manifest, ...content.hooks].join("\n---\n") };
}

/** By kind and name. */
export function compareManifests(before: string, after: string): ObjectChange[] {
  const [old, now] = [objectsIn(before), objectsIn(after)];
  const changes: ObjectChange[] = [];
  for (const key of new Set([...now.keys(), ...old.keys()])) {
    const [was, is] = [old.get(key), now.get(key)];
    const [kind = "", name = ""] = key.split("/").slice(-2);
    if (was === undefined) changes.push({ kind, name, change: "created", fields: [] });
    else if (is === undefined) changes.push({ kind, name, change: "removed", fields: [] });
    else {
      const fields = differences(was, is).map(keyPath);
      if (fields.length > 0) changes.push({ kind, name, change: "changed", fields });
    }
  }
  return changes.sort((a, b) => a.kind.localeCompare(b.kind) || a.name.localeCompare(b.name));
}

/** By namespace, kind and name: `/Service/orders`. */
export function objectsIn(manifests: string): Map<string, unknown> {
  const documents = parseAllDocuments(manifests);
  const objects = (Array.isArray(documents) ? documents : []).flatMap((document) => {
    const [fault] = document.errors;
    if (fault !== undefined) throw new UserError(`not valid YAML: ${fault.code}`, { code: "config" });
    const value: unknown = document.toJS();
    if (!isMapping(value)) return [];
    const { kind, metadata } = value as { kind?: string; metadata?: { name?: string; namespace?: string } };
    return [[`${metadata?.namespace ?? ""}/${kind ?? ""}/${metadata?.name ?? ""}`, value] as const];
  });
  return new Map(objects);
}

function differences(before: unknown, after: unknown, path: KeyPath = []): KeyPath[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    const length = Math.max(before.length, after.length);
    return Array.from({ length }, (_, index) =>
      differences(before[index], after[index], [...path, index]),
    ).flat();
  }
  if (isMapping(before) && isMapping(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => differences(before[key], after[key], [...path, key]));
  }
  return [path];
}
