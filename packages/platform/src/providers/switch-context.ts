/** Making a cluster the current one of the user's kubeconfig: done only where it is asked for. */
import { existsSync } from "node:fs";
import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError } from "@kws/base/errors";
import { findContext, readKubeconfig } from "@kws/kube/kubeconfig";
import { type Document, isMap, isSeq, parseDocument, YAMLSeq } from "yaml";
import type { KubeconfigRef } from "./provider.ts";

/**
 * Copies the context with its cluster and user into the user's file, where entries of the same names are replaced and all else
 * stays as it is, comments included, and makes it the current one. Answers its name.
 */
export async function switchContext(from: KubeconfigRef, to: string): Promise<string> {
  const context = findContext(await readKubeconfig([from.path]), from.context);
  const source = await readDocument(from.path);
  const target = await readDocument(to);
  if (from.path !== to) {
    copyEntry(source, target, "clusters", context.cluster, from.path);
    copyEntry(source, target, "users", context.user, from.path);
    copyEntry(source, target, "contexts", context.name, from.path);
  }
  target.set("current-context", context.name);
  const mode = existsSync(to) ? (await stat(to)).mode & 0o777 : 0o600;
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  await replaceFile(to, target.toString(), { mode });
  return context.name;
}

async function readDocument(path: string): Promise<Document> {
  const text = existsSync(path) ? await readFile(path, "utf8") : "";
  const document = parseDocument(text.trim() === "" ? "apiVersion: v1\nkind: Config\n" : text);
  if (document.errors.length === 0 && isMap(document.contents)) return document;
  throw new UserError(`the kubeconfig ${path} is not valid YAML`, {
    code: "config",
    at: path,
    fix: "Correct it, or move it away.",
  });
}

function copyEntry(from: Document, to: Document, list: string, name: string, path: string): void {
  const [entry, taken] = [from, to].map((document) =>
    entriesOf(document, list).find((one) => nameOf(one) === name),
  );
  if (entry === undefined) {
    throw new UserError(`the kubeconfig ${path} has no "${name}" among its ${list}`, {
      code: "config",
      at: path,
    });
  }
  const [host, other] = [entry, taken].map(hostOf);
  if (other !== undefined && host !== other) {
    throw new UserError(`your kubeconfig has another cluster "${name}", at ${other}`, {
      code: "conflict",
      fix: "Rename that one, or leave out --switch-context.",
    });
  }
  const others = entriesOf(to, list).filter((one) => nameOf(one) !== name);
  const all = new YAMLSeq();
  all.items = [...others, entry];
  to.set(list, all);
}

function entriesOf(document: Document, list: string): unknown[] {
  const node = document.get(list);
  return isSeq(node) ? node.items : [];
}

function nameOf(entry: unknown): unknown {
  return isMap(entry) ? entry.get("name") : undefined;
}

/** Of a cluster's API server. The port may change while the cluster stays the same. */
function hostOf(entry: unknown): string | undefined {
  const server = isMap(entry) ? entry.getIn(["cluster", "server"]) : undefined;
  return typeof server === "string" && URL.canParse(server) ? new URL(server).hostname : undefined;
}
