/** What Helm keeps of one revision, as its Secret holds it: base64 twice, and gzip between JSON and them. */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { KubeClient } from "@kws/kube/client";
import { secrets } from "@kws/kube/resources";
import type { Release } from "./releases.ts";

export interface RevisionContent {
  /** Helm's or kws' words for it, on one line. */
  description: string;
  /** YAML documents, without hooks. */
  manifest: string;
  /** YAML documents. */
  hooks: string[];
}

/** Undefined where the revision is gone. */
export async function readRevision(
  client: KubeClient,
  { secret, namespace }: Pick<Release, "secret" | "namespace">,
): Promise<RevisionContent | undefined> {
  const found = await client.find(secrets, secret, namespace);
  const data = (found?.["data"] as { release?: string } | undefined)?.release;
  if (data === undefined) return undefined;
  const packed = Buffer.from(Buffer.from(data, "base64").toString("latin1"), "base64");
  const text = (await promisify(gunzip)(packed, { maxOutputLength: 64 * 2 ** 20 })).toString();
  const { info, manifest, hooks } = JSON.parse(text) as {
    info?: { description?: string };
    manifest?: string;
    hooks?: { manifest?: string }[];
  };
  return {
    description: info?.description ?? "",
    manifest: manifest ?? "",
    hooks: (hooks ?? []).map((hook) => hook.manifest ?? ""),
  };
}
