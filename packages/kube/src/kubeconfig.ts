/**
 * kubeconfig files: which contexts there are, and how to reach and authenticate to the cluster of one. Certificates and
 * tokens are read here; credential plugins and login providers are left to @kubernetes/client-node, which is loaded only
 * for a context that needs it. Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
 */
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { parse } from "yaml";
import type { HttpsTransport } from "./https.ts";

export interface KubeContext {
  name: string;
  cluster: string;
  user: string;
  namespace?: string;
  /** The file that defines it. */
  path: string;
}

export interface Kubeconfig {
  /** The files read, in order of precedence. */
  paths: string[];
  currentContext?: string;
  contexts: KubeContext[];
  clusters: Map<string, NamedFields>;
  users: Map<string, NamedFields>;
}

interface NamedFields {
  /** Relative paths in a kubeconfig are relative to its folder. */
  dir: string;
  fields: Record<string, unknown>;
}

/** What a TLS connection to an API server needs. PEM texts; `authorize` adds what changes over time. */
export interface ClusterAccess {
  server: string;
  ca?: string;
  cert?: string;
  key?: string;
  serverName?: string;
  insecureSkipTlsVerify?: boolean;
  /** Headers of a request, such as `authorization`; asked before each one. */
  headers(): Promise<Record<string, string>>;
}

/** The files that kubectl would read: `--kubeconfig`, else `$KUBECONFIG`, else `~/.kube/config`. */
export function kubeconfigPaths(given: string | undefined, env: NodeJS.ProcessEnv, home: string): string[] {
  if (given !== undefined) return [given];
  const listed = (env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  return listed.length > 0 ? listed : [join(home, ".kube", "config")];
}

/** Reads and merges; the first file to name something wins. Files that do not exist are passed over, as kubectl does. */
export async function readKubeconfig(paths: string[]): Promise<Kubeconfig> {
  const merged: Kubeconfig = { paths, contexts: [], clusters: new Map(), users: new Map() };
  for (const path of paths) {
    const text = await readIfThere(path);
    if (text !== undefined) merge(merged, path, parseKubeconfig(path, text));
  }
  return merged;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw new UserError(`the kubeconfig ${path} cannot be read`, {
      code: isErrno(error, "EACCES") ? "permission" : "config",
      cause: error,
    });
  }
}

function parseKubeconfig(path: string, text: string): Record<string, unknown> {
  try {
    const value: unknown = parse(text, { maxAliasCount: 50 });
    return isRecord(value) ? value : {};
  } catch (error) {
    throw new UserError(`the kubeconfig ${path} is not valid YAML`, {
      code: "config",
      at: path,
      cause: error,
    });
  }
}

function merge(into: Kubeconfig, path: string, config: Record<string, unknown>): void {
  const dir = dirname(path);
  const current = config["current-context"];
  if (typeof current === "string" && current !== "") into.currentContext ??= current;
  for (const { name, fields } of named(config["contexts"], "context")) {
    if (into.contexts.some((context) => context.name === name)) continue;
    const { cluster, user, namespace } = fields;
    into.contexts.push({
      name,
      path,
      cluster: typeof cluster === "string" ? cluster : "",
      user: typeof user === "string" ? user : "",
      ...(typeof namespace === "string" ? { namespace } : {}),
    });
  }
  for (const { name, fields } of named(config["clusters"], "cluster")) {
    if (!into.clusters.has(name)) into.clusters.set(name, { dir, fields });
  }
  for (const { name, fields } of named(config["users"], "user")) {
    if (!into.users.has(name)) into.users.set(name, { dir, fields });
  }
}

function named(list: unknown, key: string): { name: string; fields: Record<string, unknown> }[] {
  if (!Array.isArray(list)) return [];
  return list.filter(isRecord).flatMap((entry) => {
    const { name, [key]: fields } = entry;
    return typeof name === "string" ? [{ name, fields: isRecord(fields) ? fields : {} }] : [];
  });
}

/** The context by name, or the current one. */
export function findContext(config: Kubeconfig, name?: string): KubeContext {
  const wanted = name ?? config.currentContext;
  if (wanted === undefined) {
    throw new UserError(`no current context in ${config.paths.join(", ")}`, {
      code: "config",
      fix: "Name one with --context.",
    });
  }
  const context = config.contexts.find((candidate) => candidate.name === wanted);
  if (context === undefined) {
    const known = config.contexts.map((candidate) => candidate.name).join(", ");
    throw new UserError(`there is no context "${wanted}" in ${config.paths.join(", ")}`, {
      code: "not-found",
      fix: known === "" ? "Add it to the kubeconfig." : `Use one of: ${known}.`,
    });
  }
  return context;
}

export async function accessOf(config: Kubeconfig, contextName?: string): Promise<ClusterAccess> {
  const context = findContext(config, contextName);
  const cluster = config.clusters.get(context.cluster);
  const server = cluster?.fields["server"];
  if (cluster === undefined || typeof server !== "string") {
    throw new UserError(
      `the context "${context.name}" names the cluster "${context.cluster}", which has no server`,
      {
        code: "config",
        at: context.path,
      },
    );
  }
  const user = config.users.get(context.user) ?? { dir: "", fields: {} };
  if ("exec" in user.fields || "auth-provider" in user.fields || "proxy-url" in cluster.fields) {
    return pluginAccess(config, context, server);
  }
  const access: ClusterAccess = {
    server,
    ...pick("ca", await pem(cluster, "certificate-authority")),
    ...pick("cert", await pem(user, "client-certificate")),
    ...pick("key", await pem(user, "client-key")),
    insecureSkipTlsVerify: cluster.fields["insecure-skip-tls-verify"] === true,
    headers: async () => authorization(user),
  };
  const serverName = cluster.fields["tls-server-name"];
  if (typeof serverName === "string") access.serverName = serverName;
  return access;
}

/** A transport to the cluster of a context of one file. */
export async function connect(options: { path: string; context?: string }): Promise<HttpsTransport> {
  const { httpsTransport } = await import("./https.ts");
  return httpsTransport(await accessOf(await readKubeconfig([options.path]), options.context));
}

function pick<K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, string>);
}

async function pem(entry: NamedFields, key: string): Promise<string | undefined> {
  const data = entry.fields[`${key}-data`];
  if (typeof data === "string" && data !== "") return Buffer.from(data, "base64").toString("utf8");
  const path = entry.fields[key];
  if (typeof path !== "string" || path === "") return undefined;
  return readFile(isAbsolute(path) ? path : join(entry.dir, path), "utf8");
}

/** A token file is read anew each time: its content is rotated. */
async function authorization(user: NamedFields): Promise<Record<string, string>> {
  const { token, tokenFile, username, password } = user.fields;
  if (typeof token === "string" && token !== "") return { authorization: `Bearer ${token}` };
  if (typeof tokenFile === "string" && tokenFile !== "") {
    const path = isAbsolute(tokenFile) ? tokenFile : join(user.dir, tokenFile);
    return { authorization: `Bearer ${(await readFile(path, "utf8")).trim()}` };
  }
  if (typeof username === "string" && typeof password === "string") {
    return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
  }
  return {};
}

/** Credential plugins (`exec`), login providers and proxies: @kubernetes/client-node knows how. */
async function pluginAccess(
  config: Kubeconfig,
  context: KubeContext,
  server: string,
): Promise<ClusterAccess> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const loaded = new KubeConfig();
  for (const [index, path] of config.paths.entries()) {
    if (index === 0) {
      loaded.loadFromFile(path);
    } else {
      const more = new KubeConfig();
      more.loadFromFile(path);
      loaded.mergeConfig(more, true);
    }
  }
  loaded.setCurrentContext(context.name);
  const options: RequestOptions = {};
  await loaded.applyToHTTPSOptions(options);
  return {
    server,
    ...pick("ca", text(options.ca)),
    ...pick("cert", text(options.cert)),
    ...pick("key", text(options.key)),
    ...pick("serverName", options.servername),
    insecureSkipTlsVerify: options.rejectUnauthorized === false,
    headers: async () => {
      const fresh: RequestOptions = {};
      await loaded.applyToHTTPSOptions(fresh);
      const given = (fresh.headers ?? {}) as Record<string, unknown>;
      const value = given["Authorization"] ?? given["authorization"];
      const headers: Record<string, string> = {};
      if (typeof value === "string") headers["authorization"] = value;
      return headers;
    },
  };
}

function text(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return Buffer.isBuffer(value) ? value.toString("utf8") : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
