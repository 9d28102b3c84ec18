/** Every secret that can be found from here, in memory, so that it can be kept out of what leaves this machine. */
import { UserError } from "@kws/base/errors";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { pods, secrets } from "@kws/kube/resources";
import { credentialFiles } from "@kws/oci/credentials";
import { parse } from "yaml";
import { chartFolder } from "../charts/chart.ts";
import { isMapping, openLayers } from "../charts/layers.ts";
import { profileLayers, profileNames } from "../charts/profiles.ts";
import { secretOpener } from "../secrets/open.ts";
import { isSecretName } from "../secrets/scan.ts";
import { textOf } from "./machine.ts";
import type { Subject } from "./subject.ts";

/** Of the environment, of logins to registries, and of encrypted files that keys here open. */
export async function secretsHere(subject: Subject): Promise<string[]> {
  const { env } = subject;
  const variables = Object.entries(env).flatMap(([name, value]) =>
    value !== undefined && isSecretName(name) ? [value] : [],
  );
  const logins = await Promise.all(
    credentialFiles(env).map(async (path) => scalarsOf(parsed(await textOf(path)))),
  );
  return [...variables, ...logins.flat().flatMap(withDecoded), ...(await encryptedValues(subject))];
}

/** A login's `auth` is `name:password` in base64. */
function withDecoded(text: string): string[] {
  const decoded = Buffer.from(text, "base64").toString("utf8");
  const cut = decoded.indexOf(":");
  return cut === -1 ? [text] : [text, decoded, decoded.slice(cut + 1)];
}

async function encryptedValues(subject: Subject): Promise<string[]> {
  const decrypt = secretOpener(subject, subject.signal);
  const found: string[] = [];
  for (const service of await subject.services()) {
    try {
      const folder = await chartFolder(service);
      for (const profile of await profileNames(folder)) {
        const layers = (await profileLayers(folder, profile)).filter(({ kind }) => kind === "secrets");
        for (const { values } of await openLayers(layers, decrypt)) found.push(...scalarsOf(values));
      }
    } catch (error) {
      // What no key here opens, nothing here can tell either.
      if (!(error instanceof UserError)) throw error;
    }
  }
  return found;
}

/** Of Secrets, and of pods' own variables. */
export async function secretsOfCluster(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<string[]> {
  const [held, running] = await Promise.all([
    client.list(secrets, namespace, { signal, fieldSelector: "type!=helm.sh/release.v1" }),
    client.list(pods, namespace, { signal }),
  ]);
  const data = held.items.flatMap((secret) =>
    Object.values((secret["data"] ?? {}) as Record<string, string>),
  );
  const decoded = data.map((value) => Buffer.from(value, "base64").toString("utf8"));
  return [...decoded, ...running.items.flatMap(secretVariables)];
}

function secretVariables({ ["spec"]: spec }: KubeObject): string[] {
  const { containers = [], initContainers = [] } = (spec ?? {}) as Record<
    string,
    { env?: { name: string; value?: string }[] }[]
  >;
  return [...containers, ...initContainers].flatMap(({ env = [] }) =>
    env.flatMap(({ name, value }) => (value !== undefined && isSecretName(name) ? [value] : [])),
  );
}

/** Tokens, passwords and keys; names of users are shorter. */
export async function secretsOfKubeconfig(path: string): Promise<string[]> {
  const config = parsed(await textOf(path));
  return isMapping(config) ? scalarsOf(config["users"]).filter((text) => text.length > 15) : [];
}

function parsed(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 50 });
  } catch (error) {
    if (error instanceof Error && error.name.startsWith("YAML")) return text;
    throw error;
  }
}

function scalarsOf(value: unknown): string[] {
  if (typeof value === "string") return value === "" ? [] : [value];
  if (typeof value === "number") return [String(value)];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(scalarsOf) : [];
}
