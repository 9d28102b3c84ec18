/**
 * Reads Compose files into one model as Compose does: variables, `extends`, several files merged, `include`.
 * What Compose would refuse but a conversion can do without (an unset variable, a file that is missing) is a finding.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { parseYaml, readLimited } from "../../project/yaml-file.ts";
import type { Finding } from "../finding.ts";
import { parseEnvFile } from "./env-file.ts";
import { hiding, mayHide } from "./hidden.ts";
import { interpolate, type Problem, type Variables } from "./interpolate.ts";
import { mergeTrees, withoutResets } from "./merge.ts";
import { normalize } from "./normalize.ts";
import {
  entries,
  get,
  items,
  mapScalars,
  type MapTree,
  text,
  texts,
  toTree,
  type Tree,
  withKey,
} from "./tree.ts";

export interface Model {
  /** Normalized and merged, without `include` and `extends`. */
  tree: MapTree;
  /** Of the project. */
  name: string;
  /** What relative paths of the first file go from. */
  dir: string;
  variables: Variables;
  findings: Finding[];
}

export interface LoadOptions {
  /** Variables that win over those of `.env`. */
  env: NodeJS.ProcessEnv;
  /** What `~` stands for. */
  home: string;
  /** Instead of the `.env` of the project's folder. */
  envFiles?: string[];
}

interface Loading {
  /** What wins over the variables of a project's own `.env`. */
  outer: Variables;
  home: string;
  findings: Finding[];
  /** Told once, however often it is used. */
  told: Set<string>;
  /** Files that are being included or extended, to see circles. */
  open: string[];
}

const maxSize = 4 * 1024 * 1024;

/** The first file decides the project's folder; the others are put over it. */
export async function loadModel(files: string[], options: LoadOptions): Promise<Model> {
  const loading: Loading = {
    outer: (name) => options.env[name],
    home: options.home,
    findings: [],
    told: new Set(),
    open: [],
  };
  const dir = dirname(resolve(files[0] ?? "."));
  const project = await loadProject(
    files.map((file) => resolve(file)),
    dir,
    loading,
    options.envFiles,
  );
  const name = text(get(project.tree, "name")) ?? basename(dir);
  return { ...project, name, dir, findings: loading.findings };
}

async function loadProject(
  files: string[],
  dir: string,
  loading: Loading,
  envFiles: string[] = [join(dir, ".env")].filter((file) => existsSync(file)),
): Promise<Pick<Model, "tree" | "variables">> {
  const variables = await variablesOf(envFiles, loading.outer);
  let merged: Tree | undefined;
  for (const file of files) {
    const tree = await loadFile(file, dir, variables, loading);
    merged = mergeTrees(merged, await extendAll(tree, file, dir, variables, loading));
  }
  if (merged === undefined || merged.kind !== "map")
    throw new UserError("there is no Compose file", { code: "usage" });
  const tree = withoutResets(merged);
  if (tree.kind !== "map") throw new Error("a mapping stays one");
  return { tree: await includeAll(tree, dir, variables, loading), variables };
}

/** `.env` files under what wins over them. */
async function variablesOf(files: string[], outer: Variables): Promise<Variables> {
  const values = new Map<string, string | undefined>();
  const known: Variables = (name) => outer(name) ?? values.get(name);
  for (const file of files) {
    for (const [name, value] of parseEnvFile(await readLimited(file, maxSize), known).values) {
      if (value !== undefined) values.set(name, value);
    }
  }
  return known;
}

async function loadFile(path: string, dir: string, variables: Variables, loading: Loading): Promise<MapTree> {
  const file = parseYaml(path, await readLimited(path, maxSize), "compose");
  const tree = mapScalars(toTree(file), (value, place) => {
    const { text: result, problems } = interpolate(
      value,
      mayHide(place.path) ? hiding(variables) : variables,
    );
    for (const problem of problems) tell(loading, problem, place);
    return result;
  });
  if (tree.kind === "map" && get(tree, "services") === undefined && get(tree, "include") === undefined) {
    const old = [...tree.entries].find(([, value]) => get(value, "image") ?? get(value, "build"));
    throw new UserError(`${path} has no services`, {
      code: "config",
      at: old?.[1].at() ?? `${path}:1:1`,
      fix:
        old === undefined
          ? "Name a Compose file."
          : "It is of the first version of the format: put `services:` above, and indent the rest.",
    });
  }
  return normalize(tree, { dir, home: loading.home });
}

function tell(loading: Loading, { kind, name, message }: Problem, place: Tree): void {
  const said = `${kind} ${name}`;
  if (loading.told.has(said)) return;
  loading.told.add(said);
  const where = { key: place.path, at: place.at() };
  if (kind === "unset") {
    loading.findings.push({
      ...where,
      severity: "warning",
      message: `the variable ${name} is not set, and counts as empty`,
      fix: `Set it in .env or in the environment, or give it a default: \${${name}:-…}.`,
    });
  } else if (kind === "required") {
    loading.findings.push({
      ...where,
      severity: "error",
      message: `the variable ${name} is required and not set${message === "" ? "" : `: ${message ?? ""}`}`,
      fix: "Set it in .env or in the environment.",
    });
  } else {
    loading.findings.push({
      ...where,
      severity: "error",
      message: `${JSON.stringify(name)} is no variable`,
      fix: "Write $$ for a dollar sign.",
    });
  }
}

async function extendAll(
  tree: MapTree,
  file: string,
  dir: string,
  variables: Variables,
  loading: Loading,
): Promise<MapTree> {
  const services = get(tree, "services");
  if (services?.kind !== "map") return tree;
  const made: [string, Tree][] = [];
  for (const [name] of services.entries) {
    made.push([name, await extendService(tree, name, { file, dir, chain: [] }, variables, loading)]);
  }
  return withKey(tree, "services", { ...services, entries: new Map(made) });
}

async function extendService(
  tree: MapTree,
  name: string,
  from: { file: string; dir: string; chain: string[] },
  variables: Variables,
  loading: Loading,
): Promise<Tree> {
  const service = get(tree, "services", name);
  if (service?.kind !== "map")
    return (
      service ?? {
        path: `services.${name}`,
        at: () => from.file,
        kind: "map",
        entries: new Map<string, Tree>(),
      }
    );
  const extended = get(service, "extends");
  const own = withKey(service, "extends", undefined);
  const base = text(get(extended, "service"));
  if (extended === undefined || base === undefined) return own;
  const other = text(get(extended, "file"));
  const path = other ?? from.file;
  const link = `${path}: ${base}`;
  const at = { code: "config", at: extended.at() } as const;
  if (from.chain.includes(link)) throw new UserError(`services extend each other in a circle: ${link}`, at);
  const dir = other === undefined ? from.dir : dirname(path);
  if (other !== undefined && !existsSync(path))
    throw new UserError(`${path} does not exist`, { ...at, fix: "Correct the path." });
  const source = other === undefined ? tree : await loadFile(path, dir, variables, loading);
  if (get(source, "services", base) === undefined) {
    throw new UserError(`${path} has no service "${base}" to extend`, { ...at, fix: "Correct the name." });
  }
  const resolved = await extendService(
    source,
    base,
    { file: path, dir, chain: [...from.chain, link] },
    variables,
    loading,
  );
  return mergeTrees(resolved, own, `services.${name}`);
}

/** What is included is a project of its own, whose parts are copied; what is there already wins. */
async function includeAll(
  tree: MapTree,
  dir: string,
  variables: Variables,
  loading: Loading,
): Promise<MapTree> {
  const included = get(tree, "include");
  let result = withKey(tree, "include", undefined);
  for (const one of items(included)) {
    const paths = (one.kind === "map" ? texts(get(one, "path")) : texts(one)).map((path) =>
      resolve(dir, path),
    );
    const [first] = paths;
    const missing = paths.find((path) => !existsSync(path));
    if (first === undefined || missing !== undefined || loading.open.includes(first)) {
      loading.findings.push({
        severity: "error",
        key: one.path,
        at: one.at(),
        message:
          missing === undefined
            ? "files include each other in a circle"
            : `${missing} does not exist, and is not included`,
      });
      continue;
    }
    const given = text(get(one, "project_directory"));
    const folder = given === undefined ? dirname(first) : resolve(dir, given);
    const envFiles = texts(get(one, "env_file")).map((path) => resolve(dir, path));
    const inner: Loading = { ...loading, outer: variables, open: [...loading.open, first] };
    const project = await loadProject(paths, folder, inner, envFiles.length === 0 ? undefined : envFiles);
    for (const section of ["services", "networks", "volumes", "configs", "secrets", "models"]) {
      for (const [name, value] of entries(get(project.tree, section))) {
        if (get(result, section, name) !== undefined) continue;
        const all = get(result, section);
        const entry = new Map(all?.kind === "map" ? all.entries : []).set(name, value);
        result = withKey(result, section, { path: section, at: value.at, kind: "map", entries: entry });
      }
    }
  }
  return result;
}
