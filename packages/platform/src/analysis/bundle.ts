/**
 * An archive for a bug report: what was found, versions, kws.yaml files, and how the cluster is. Whatever is known to be secret is
 * taken out of every file, and so is what looks like it; contents of Secrets and ConfigMaps, variables of containers and values of
 * charts are not put in at all.
 */
import { writeFile } from "node:fs/promises";
import { arch, release } from "node:os";
import { isErrno, UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { deployments, events, jobs, nodes, pods, statefulSets } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import { redacted, redactor } from "../charts/redact.ts";
import { writeArchive } from "../packages/archive.ts";
import type { Connection } from "../providers/provider.ts";
import { clusterLogPath } from "../providers/embedded.ts";
import { scanText } from "../secrets/scan.ts";
import { lastLogLines } from "../services/logs.ts";
import type { Analysis } from "./analyze.ts";
import { secretsHere, secretsOfCluster, secretsOfKubeconfig } from "./known-secrets.ts";
import { textOf } from "./machine.ts";
import type { Subject } from "./subject.ts";

export interface BundleOptions {
  path: string;
  analysis: Analysis;
  /** Of kws. */
  version: string;
  user: string;
  host: string;
}

/** Of each container's log, and of the cluster's own. */
const tail = 200;

/** The names of the files in it. Refuses to replace a file. */
export async function writeBundle(subject: Subject, options: BundleOptions): Promise<string[]> {
  const secrets = await secretsHere(subject);
  const files = new Map<string, string>([
    ["analysis.json", json(options.analysis)],
    ["versions.json", json(versionsOf(subject, options))],
    ...(await configFiles(subject)),
  ]);
  const status = await subject.status();
  if (status.provider === "embedded") {
    const log = await textOf(await clusterLogPath(subject.locations.data, status.name));
    files.set("cluster/daemon.log", log.split("\n").slice(-tail).join("\n"));
  }
  const connection = await subject.connection();
  if (connection !== undefined) {
    secrets.push(...(await secretsOfKubeconfig(connection.kubeconfig.path)));
    for (const [name, text] of await clusterFiles(subject, connection, secrets)) files.set(name, text);
  }
  const clean = await cleaner(secrets, { ...options, home: subject.home });
  const contents = new Map<string, Uint8Array>();
  for (const [name, text] of files) contents.set(`kws-bundle/${name}`, Buffer.from(await clean(name, text)));
  const bytes = await writeArchive(contents, Math.floor(subject.clock() / 1000));
  try {
    await writeFile(options.path, bytes, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    throw new UserError(`${options.path} exists`, { code: "conflict", fix: "Name another file." });
  }
  return [...files.keys()].toSorted();
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;

/** Names of variables tell much, and their values too much. */
const telling = /^(KWS_|KUBECONFIG$|DOCKER_|HELM_|SOPS_|XDG_|NODE_|WSL_|CI$|(HTTPS?|NO)_PROXY$)/i;

function versionsOf({ env, platform }: Subject, { version }: BundleOptions) {
  const variables = Object.keys(env).filter((name) => telling.test(name));
  return {
    kws: version,
    node: process.versions.node,
    platform,
    arch: arch(),
    kernel: release(),
    variablesThatAreSet: variables.toSorted(),
  };
}

async function configFiles(subject: Subject): Promise<[string, string][]> {
  const services = await subject.services();
  const own: [string, string | undefined][] = [["workspace", subject.file]];
  const paths = [
    ...own,
    ...services.map(({ name, file }): [string, string] => [`services/${name}`, file.path]),
  ];
  const read = paths.map(async ([name, path]): Promise<[string, string][]> =>
    path === undefined ? [] : [[`config/${name}/kws.yaml`, await textOf(path)]],
  );
  return (await Promise.all(read)).flat();
}

/** The nodes and the stacks' namespaces as they are; adds to the secrets that are known. */
async function clusterFiles(
  subject: Subject,
  connection: Connection,
  secrets: string[],
): Promise<[string, string][]> {
  const { signal } = subject;
  const files: [string, string][] = [];
  /** What may not be read is left out, and so are logs that cannot be rid of Secrets. */
  const add = async (name: string, read: () => Promise<[string, string][]>) => {
    try {
      files.push(...(await read()));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      files.push([`cluster/${name}/left-out.txt`, `${error.message}\n`]);
    }
  };
  await add("nodes", async () => {
    const { items } = await connection.client.list(nodes, undefined, { signal });
    return [["cluster/nodes.json", json(items.map(statusOf))]];
  });
  for (const namespace of new Set((await subject.project())?.stacks.map((stack) => stack.namespace))) {
    await add(namespace, async () => {
      secrets.push(...(await secretsOfCluster(connection.client, namespace, signal)));
      return namespaceFiles(connection, namespace, signal);
    });
  }
  return files;
}

async function namespaceFiles(
  connection: Connection,
  namespace: string,
  signal: AbortSignal,
): Promise<[string, string][]> {
  const [running, happened, ...workloads] = await Promise.all(
    [pods, events, deployments, statefulSets, jobs].map((resource) =>
      connection.client.list(resource, namespace, { signal }),
    ),
  );
  const folder = `cluster/${namespace}`;
  const logs = (running?.items ?? []).flatMap((pod) =>
    containersOf(pod).map(async (container): Promise<[string, string]> => {
      const lines = await lastLogLines(connection, { namespace, name: pod.metadata.name, container }, tail);
      return [`${folder}/logs/${pod.metadata.name}/${container}.log`, `${lines.join("\n")}\n`];
    }),
  );
  return [
    [`${folder}/pods.json`, json((running?.items ?? []).map(statusOf))],
    [`${folder}/workloads.json`, json(workloads.flatMap(({ items }) => items.map(statusOf)))],
    [
      `${folder}/events.json`,
      json(
        (happened?.items ?? []).map(({ reason, message, involvedObject, count }) => ({
          involvedObject,
          reason,
          message,
          count,
        })),
      ),
    ],
    ...(await Promise.all(logs)),
  ];
}

const statusOf = ({ metadata: { name, creationTimestamp, labels }, status }: KubeObject) => ({
  name,
  creationTimestamp,
  labels,
  status,
});

function containersOf({ ["spec"]: spec }: KubeObject): string[] {
  return ((spec?.["containers"] ?? []) as { name: string }[]).map(({ name }) => name);
}

/** To its end, or to that of the text where it was cut off. */
const privateKeyBlock =
  /-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----[^]*?(-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|$)/g;

/** Users whose names are words of every log. */
const everybody = new Set(["root", "user", "node", "admin"]);

/** Takes out secrets, what looks like one, and who and where this was. */
export async function cleaner(
  secrets: readonly string[],
  { home, user, host }: { home: string; user: string; host: string },
): Promise<(name: string, text: string) => Promise<string>> {
  const known = redactor([{ name: "known", kind: "secrets", file: "", values: { secrets }, at: () => "" }]);
  const words = [...(everybody.has(user) ? [] : [[user, "<user>"] as const]), [host, "<host>"] as const];
  return async (name, text) => {
    const plain = known
      .text(text)
      .replaceAll(/(\w+:\/\/)[^\s/@"']*:[^\s/@"']+@/g, `$1${redacted}@`)
      .replaceAll(privateKeyBlock, redacted);
    const found = await scanText(name, plain).catch((error: unknown) => {
      if (error instanceof UserError) return scanText(`${name}.txt`, plain);
      throw error;
    });
    const lines = plain.split("\n");
    for (const { at } of found) {
      const line = Number(at.split(":").at(-2)) - 1;
      lines[line] = redacted;
    }
    const anonymous = home.length > 1 ? lines.join("\n").replaceAll(home, "~") : lines.join("\n");
    return words.reduce(
      (all, [word, instead]) => (word.length < 3 ? all : all.replaceAll(word, instead)),
      anonymous,
    );
  };
}
