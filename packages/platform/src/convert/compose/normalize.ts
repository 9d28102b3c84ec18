/**
 * One shape for what Compose lets people write in several: lists of `NAME=value`, short ports and volumes, commands as text,
 * and paths relative to a file. Afterwards files can be merged key by key.
 */
import { isAbsolute, join, resolve } from "node:path";
import { splitWords } from "@kws/sops/keys/shellwords";
import {
  entries,
  get,
  items,
  list,
  map,
  type MapTree,
  scalar,
  text,
  type Tree,
  withKey,
  wrong,
} from "./tree.ts";

/** What relative paths, and `~`, go from. */
export interface Base {
  dir: string;
  home: string;
}

/** The model of one file; paths in it become absolute. */
export function normalize(model: Tree, base: Base): MapTree {
  if (model.kind !== "map") throw wrong(model, "a mapping");
  let result = model;
  // The first version of the format had the services at the top.
  const services = get(model, "services");
  if (services !== undefined) {
    result = withKey(
      result,
      "services",
      map(
        services,
        entries(services).map(([name, service]) => [name, normalizeService(service, base)]),
      ),
    );
  }
  for (const kind of ["configs", "secrets"]) {
    const all = get(model, kind);
    if (all === undefined) continue;
    const made = entries(all).map(([name, one]): [string, Tree] => [
      name,
      one.kind === "map" ? change(one, "file", (file) => pathTree(file, base)) : one,
    ]);
    result = withKey(result, kind, map(all, made));
  }
  return result;
}

type Change = (tree: Tree, base: Base) => Tree;

const serviceChanges: Record<string, Change> = {
  annotations: (tree) => toMap(tree, "="),
  build: (tree, base) => normalizeBuild(tree, base),
  command: words,
  configs: (tree) => longList(tree, (item) => map(item, [["source", item]])),
  depends_on: (tree) => named(tree, (item) => map(item, [["condition", scalar(item, "service_started")]])),
  deploy: (tree) => (tree.kind === "map" ? change(tree, "labels", (labels) => toMap(labels, "=")) : tree),
  develop: normalizeDevelop,
  dns: toList,
  dns_search: toList,
  entrypoint: words,
  env_file: (tree, base) =>
    longList(
      tree,
      (item) => map(item, [["path", item]]),
      (item) => change(item, "path", (path) => pathTree(path, base)),
    ),
  environment: (tree) => toMap(tree, "="),
  extends: (tree, base) => {
    const long = tree.kind === "scalar" ? map(tree, [["service", tree]]) : tree;
    return long.kind === "map" ? change(long, "file", (file) => pathTree(file, base)) : long;
  },
  extra_hosts: (tree) => toMap(tree, /[=:]/),
  healthcheck: (tree) => (tree.kind === "map" ? change(tree, "test", healthTest) : tree),
  label_file: (tree, base) =>
    list(
      tree,
      items(tree).map((item) => pathTree(item, base)),
    ),
  labels: (tree) => toMap(tree, "="),
  links: toList,
  networks: (tree) => named(tree, (item) => map(item, [])),
  ports: (tree) => list(tree, items(tree).flatMap(normalizePort)),
  secrets: (tree) => longList(tree, (item) => map(item, [["source", item]])),
  sysctls: (tree) => toMap(tree, "="),
  tmpfs: toList,
  volumes: (tree, base) =>
    list(
      tree,
      items(tree).map((item) => normalizeVolume(item, base)),
    ),
};

function normalizeService(service: Tree, base: Base): Tree {
  if (service.kind !== "map") {
    if (service.kind === "scalar" && service.value === null) return map(service, []);
    throw wrong(service, "a mapping");
  }
  let result: MapTree = service;
  for (const [key, make] of Object.entries(serviceChanges))
    result = change(result, key, (tree) => make(tree, base));
  for (const hook of ["post_start", "pre_stop"]) {
    result = change(result, hook, (tree) => list(tree, items(tree).map(normalizeHook)));
  }
  return result;
}

function normalizeHook(hook: Tree): Tree {
  if (hook.kind !== "map") return map(hook, [["command", words(hook)]]);
  return change(change(hook, "command", words), "environment", (tree) => toMap(tree, "="));
}

/** Leaves null alone, and what says `!reset`: its value means nothing. */
function change(tree: MapTree, key: string, make: (value: Tree) => Tree): MapTree {
  const value = tree.entries.get(key);
  if (value === undefined || value.tag === "!reset" || (value.kind === "scalar" && value.value === null))
    return tree;
  const made = make(value);
  return withKey(tree, key, value.tag === undefined ? made : { ...made, tag: value.tag });
}

/** `[A=1, B]` → `{ A: 1, B: null }`. */
function toMap(tree: Tree, separator: string | RegExp): Tree {
  if (tree.kind === "map") return tree;
  return map(
    tree,
    items(tree).map((item): [string, Tree] => {
      const line = text(item) ?? "";
      const at = typeof separator === "string" ? line.indexOf(separator) : line.search(separator);
      return at === -1 ? [line, scalar(item, null)] : [line.slice(0, at), scalar(item, line.slice(at + 1))];
    }),
  );
}

function toList(tree: Tree): Tree {
  return list(tree, items(tree));
}

/** A list of names, or a mapping whose values may be empty. */
function named(tree: Tree, empty: (item: Tree) => Tree): Tree {
  if (tree.kind === "map") {
    return map(
      tree,
      [...tree.entries].map(([name, item]): [string, Tree] => [
        name,
        item.kind === "map" ? item : empty(item),
      ]),
    );
  }
  return map(
    tree,
    items(tree).map((item) => [text(item) ?? "", empty(item)]),
  );
}

function longList(
  tree: Tree,
  long: (item: Tree) => MapTree,
  more: (item: MapTree) => MapTree = (item) => item,
): Tree {
  return list(
    tree,
    items(tree).map((item) => more(item.kind === "map" ? item : long(item))),
  );
}

function words(tree: Tree): Tree {
  if (tree.kind !== "scalar") return tree;
  const line = text(tree) ?? "";
  try {
    return list(
      tree,
      splitWords(line).map((word) => scalar(tree, word)),
    );
  } catch {
    throw wrong(tree, "a command whose quotes are closed");
  }
}

function healthTest(tree: Tree): Tree {
  if (tree.kind !== "scalar") return tree;
  return list(tree, [scalar(tree, "CMD-SHELL"), tree]);
}

function normalizeBuild(tree: Tree, base: Base): Tree {
  const long = tree.kind === "scalar" ? map(tree, [["context", tree]]) : tree;
  if (long.kind !== "map") throw wrong(tree, "a folder or a mapping");
  const context = get(long, "context") ?? scalar(long, ".");
  const made = withKey(long, "context", isRemote(text(context) ?? "") ? context : pathTree(context, base));
  return change(
    change(made, "args", (args) => toMap(args, "=")),
    "labels",
    (labels) => toMap(labels, "="),
  );
}

/** A context that is not a folder: Compose clones repositories by these. */
export function isRemote(context: string): boolean {
  return /^(https?|git|ssh):\/\/|^git@|^github\.com\/|\.git(#|$)/.test(context);
}

function normalizeDevelop(tree: Tree, base: Base): Tree {
  if (tree.kind !== "map") return tree;
  return change(tree, "watch", (watch) =>
    list(
      watch,
      items(watch).map((rule) =>
        rule.kind === "map"
          ? change(
              change(rule, "path", (path) => pathTree(path, base)),
              "exec",
              normalizeHook,
            )
          : rule,
      ),
    ),
  );
}

function pathTree(tree: Tree, base: Base): Tree {
  const path = text(tree);
  return path === undefined ? tree : scalar(tree, absolute(path, base));
}

function absolute(path: string, { dir, home }: Base): string {
  if (path === "~" || path.startsWith("~/")) return join(home, path.slice(1));
  return isAbsolute(path) ? path : resolve(dir, path);
}

/** `[[ip:]published:]target[/protocol]`, where both may be ranges. A range of hosts for one port is its first. */
function normalizePort(item: Tree): Tree[] {
  if (item.kind === "map") return [item];
  const line = text(item) ?? "";
  const match =
    /^(?:(?:\[([^\]]*)\]|(\d+\.\d+\.\d+\.\d+)):)?(?:(\d+(?:-\d+)?)?:)?(\d+(?:-\d+)?)(?:\/(\w+))?$/.exec(line);
  const [, ipv6, ipv4, published, target = "", protocol] = match ?? [];
  if (match === null) throw wrong(item, "a port such as 8080:80");
  const targets = range(target);
  const hosts = published === undefined ? [] : range(published);
  return targets.map((port, index) => {
    const host = targets.length === hosts.length ? hosts[index] : hosts[0];
    return map(item, [
      ["target", scalar(item, port)],
      ["published", host === undefined ? undefined : scalar(item, String(host))],
      ["protocol", protocol === undefined ? undefined : scalar(item, protocol)],
      ["host_ip", ipv6 === undefined && ipv4 === undefined ? undefined : scalar(item, ipv6 ?? ipv4 ?? "")],
    ]);
  });
}

function range(given: string): number[] {
  const [first = 0, last = first] = given.split("-").map(Number);
  return Array.from({ length: Math.min(1000, Math.max(1, last - first + 1)) }, (_, index) => first + index);
}

/** `[source:]target[:options]`; a source that looks like a path is one of this machine. */
function normalizeVolume(item: Tree, base: Base): Tree {
  if (item.kind === "map") {
    const type = text(get(item, "type"));
    return type === "bind" ? change(item, "source", (source) => pathTree(source, base)) : item;
  }
  const line = text(item) ?? "";
  const [, source, target = "", options = ""] =
    /^(?:((?:[A-Za-z]:[\\/])?[^:]+):)?([^:]+)(?::([A-Za-z,]+))?$/.exec(line) ?? [];
  if (target === "") throw wrong(item, "a volume such as data:/var/lib/data");
  // `data:ro` would be a volume's target otherwise, where `/data:ro` is meant.
  if (source?.startsWith("/") === true && !target.startsWith("/"))
    return normalizeVolumeParts(item, base, { target: source, options: target });
  return normalizeVolumeParts(item, base, { ...(source === undefined ? {} : { source }), target, options });
}

function normalizeVolumeParts(
  item: Tree,
  base: Base,
  { source, target, options }: { source?: string; target: string; options: string },
): Tree {
  const isPath = source !== undefined && /^(\.|~|\/|[A-Za-z]:[\\/])/.test(source);
  const readOnly = options.split(",").includes("ro");
  const nocopy = options.split(",").includes("nocopy");
  return map(item, [
    ["type", scalar(item, isPath ? "bind" : "volume")],
    ["source", source === undefined ? undefined : scalar(item, isPath ? absolute(source, base) : source)],
    ["target", scalar(item, target)],
    ["read_only", readOnly ? scalar(item, true) : undefined],
    ["volume", nocopy ? map(item, [["nocopy", scalar(item, true)]]) : undefined],
  ]);
}
