/** Kustomizations made into a workspace: a chart for each app, its base as the chart's values, its overlays as profiles. */
import { isUtf8 } from "node:buffer";
import { join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { exec, lastLines } from "@kws/base/exec";
import { parseAllDocuments } from "yaml";
import { isMapping, type Values } from "../../charts/layers.ts";
import { libraryFiles } from "../../charts/library.ts";
import { fileName, toName } from "../../project/workspace.ts";
import type { Finding } from "../finding.ts";
import type { Conversion } from "../plan.ts";
import { yamlText } from "../templates.ts";
import { affixesOf, type App, findKustomizations, groupApps, type Kustomization } from "./detect.ts";
import { camel, type KubeObject, lift, overrides, type Variants } from "./lift.ts";

export interface ConvertOptions {
  /** The program. */
  kubectl: string;
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  /** The workspace's folder. */
  root: string;
}

/** What one variant of an app is built as. */
interface Built {
  /** Of the profile; undefined for the base. */
  profile: string | undefined;
  from: Kustomization;
  objects: Map<string, KubeObject>;
}

export async function convertKustomize(folder: string, options: ConvertOptions): Promise<Conversion> {
  const all = await findKustomizations(folder);
  const apps = groupApps(all, folder);
  const name = toName(folder.split("/").at(-1) ?? "");
  const conversion: Conversion = {
    name,
    root: options.root,
    services: [],
    stacks: [],
    files: new Map(),
    secrets: [],
    findings: [],
  };
  const stacks: Record<string, { profile?: string; namespace?: string; services: string[] }> = {};
  for (const app of apps) {
    const built = await buildApp(app, all, options, conversion.findings);
    if (built.length === 0) continue;
    const dir = join(options.root, app.name);
    await addChart(conversion, app.name, dir, built);
    conversion.services.push({ name: app.name, dir });
    for (const one of built.length === 1 ? built : built.filter(({ profile }) => profile !== undefined)) {
      const stack = toName(one.profile === undefined ? name : `${name}-${one.profile}`);
      const namespace = namespaceOf(one);
      stacks[stack] ??= {
        ...(one.profile === undefined ? {} : { profile: one.profile }),
        ...(namespace === undefined ? {} : { namespace }),
        services: [],
      };
      stacks[stack].services.push(app.name);
    }
  }
  conversion.stacks.push(...Object.keys(stacks));
  conversion.files.set(
    join(options.root, fileName),
    yamlText({
      name,
      services: Object.fromEntries(
        conversion.services.map((service) => [
          service.name,
          { path: `./${relative(options.root, service.dir)}` },
        ]),
      ),
      stacks,
    }),
  );
  return conversion;
}

async function buildApp(
  app: App,
  all: Kustomization[],
  options: ConvertOptions,
  findings: Finding[],
): Promise<Built[]> {
  const variants: [string | undefined, Kustomization][] = [
    ...(app.base === undefined ? [] : [[undefined, app.base] satisfies [undefined, Kustomization]]),
    ...app.overlays,
  ];
  const built: Built[] = [];
  for (const [profile, from] of variants) {
    const objects = await build(from, options, findings, profile === undefined && app.overlays.size > 0);
    if (objects === undefined) continue;
    built.push({ profile, from, objects: byIdentity(objects, affixesOf(from, all), from, findings) });
  }
  return built;
}

/** By kubectl's own kustomize. A base that cannot be built alone is no fault: its overlays may complete it. */
async function build(
  { dir, file }: Kustomization,
  { kubectl, env, signal }: ConvertOptions,
  findings: Finding[],
  isOptional: boolean,
): Promise<KubeObject[] | undefined> {
  const { exitCode, stdout, stderr } = await exec(kubectl, ["kustomize", dir], { env, signal });
  for (const line of stderr.split("\n").filter((one) => one.startsWith("# Warning"))) {
    const message = line.replace(/^# Warning: /, "");
    // Every overlay says again what its base says.
    if (findings.some((finding) => finding.message === message)) continue;
    findings.push({ severity: "note", key: "", at: file.at([]), message });
  }
  if (exitCode !== 0) {
    if (isOptional) return undefined;
    const charts =
      isMapping(file.value) &&
      (file.value["helmCharts"] ?? file.value["helmChartInflationGenerator"]) !== undefined;
    findings.push({
      severity: "error",
      key: charts ? "helmCharts" : "",
      at: file.at(charts ? ["helmCharts"] : [], charts),
      message: `the kustomization cannot be built, and is left out: ${lastLines(stderr, 3).replaceAll(/\s+/g, " ")}`,
      fix: charts
        ? "Make each of the charts a service of its own in kws.yaml, and take helmCharts out."
        : `See what \`kubectl kustomize ${dir}\` says.`,
    });
    return undefined;
  }
  // kubectl writes YAML 1.1: what it leaves unquoted is text to both versions.
  const documents = parseAllDocuments(stdout, { version: "1.1", logLevel: "error" });
  return (Array.isArray(documents) ? documents : [])
    .map((document) => document.toJS({ maxAliasCount: 100 }) as unknown)
    .filter(isObject);
}

function isObject(value: unknown): value is KubeObject {
  return (
    isMapping(value) &&
    typeof value["kind"] === "string" &&
    isMapping(value["metadata"]) &&
    typeof value["metadata"]["name"] === "string"
  );
}

/** Objects by what they are called before prefixes, suffixes and hashes: the same ones in all variants. */
function byIdentity(
  objects: KubeObject[],
  { prefixes, suffixes }: ReturnType<typeof affixesOf>,
  from: Kustomization,
  findings: Finding[],
): Map<string, KubeObject> {
  const found = new Map<string, KubeObject>();
  for (const object of objects) {
    if (object.kind === "Namespace") {
      findings.push({
        severity: "note",
        key: `Namespace ${object.metadata.name}`,
        at: from.file.at([]),
        message: "the Namespace is left out: kws makes that of a stack itself",
      });
      continue;
    }
    let { name } = object.metadata;
    if (object.kind === "ConfigMap" || object.kind === "Secret")
      name = name.replace(/-[a-z0-9]{10}$/, (hash) => (/\d/.test(hash) ? "" : hash));
    for (const prefix of prefixes)
      if (name.startsWith(prefix) && name !== prefix) name = name.slice(prefix.length);
    for (const suffix of suffixes)
      if (name.endsWith(suffix) && name !== suffix) name = name.slice(0, -suffix.length);
    const short = `${object.kind} ${name}`;
    const key = found.has(short)
      ? `${object.kind} ${object.metadata.name} ${object.metadata.namespace ?? ""}`
      : short;
    found.set(key, object);
  }
  return found;
}

/** Where all of a variant's objects are, if they are in one namespace. */
function namespaceOf({ objects }: Built): string | undefined {
  const all = new Set(
    [...objects.values()].map(({ metadata }) => metadata.namespace).filter((one) => one !== undefined),
  );
  const [only] = all;
  return all.size === 1 ? only : undefined;
}

async function addChart(conversion: Conversion, name: string, dir: string, built: Built[]): Promise<void> {
  const identities = [...new Set(built.flatMap(({ objects }) => [...objects.keys()]))];
  const keys = keysOf(identities);
  const variants: Variants[] = identities.map((identity) => ({
    key: keys.get(identity) ?? identity,
    objects: built.map(({ objects }) => objects.get(identity)),
  }));
  const definitions = variants.filter(isDefinition);
  const all = variants.filter((one) => !definitions.includes(one));
  const { templates, values } = lift(all, built.length);
  const secrets = all.filter(({ objects }) => objects.some((object) => object?.kind === "Secret"));
  const chart = join(dir, "chart");
  const put = (path: string, text: string) => conversion.files.set(join(chart, path), text);
  put(
    "Chart.yaml",
    yamlText({
      apiVersion: "v2",
      name,
      description: `The app ${name}`,
      type: "application",
      version: "0.1.0",
      dependencies: [{ name: "kws", version: "1.x" }],
    }),
  );
  for (const [path, text] of Object.entries(await libraryFiles())) put(path, text);
  for (const { key, objects } of definitions) {
    const object = objects.find((one) => one !== undefined);
    put(`crds/${fileNameOf(key)}.yaml`, yamlText(object ?? {}));
    conversion.findings.push({
      severity: "note",
      key: `CustomResourceDefinition ${object?.metadata.name}`,
      at: built[0]?.from.file.at([]) ?? "",
      message:
        "the definition is in crds/: Helm installs it before what is of its kind, and neither changes nor removes it later",
      fix: "After a change of it, run `kubectl apply --server-side -f` with the file.",
    });
  }
  for (const [key, text] of templates) put(`templates/${fileNameOf(key)}.yaml`, text);
  const defaults = { ...values[0] };
  for (const { key } of secrets)
    defaults[key] = { ...(isMapping(defaults[key]) ? defaults[key] : {}), secret: {} };
  put("values.yaml", Object.keys(defaults).length === 0 ? "{}\n" : yamlText(defaults));
  for (const [index, { profile, from }] of built.entries()) {
    const own: Values = { ...values[index] };
    for (const { key } of secrets) own[key] = { ...(isMapping(own[key]) ? own[key] : {}), secret: {} };
    if (profile !== undefined || built.length === 1) {
      const folder = `profiles/${profile ?? "local"}`;
      const over = index === 0 ? {} : overrides(defaults, own);
      put(`${folder}/values.yaml`, Object.keys(over).length === 0 ? "{}\n" : yamlText(over));
      const plain = secretsOf(secrets, index);
      if (Object.keys(plain).length > 0) {
        const at = from.file.at(["secretGenerator"], true);
        conversion.secrets.push({
          path: join(chart, folder, "secrets.yaml"),
          values: plain,
          from: Object.keys(plain).map((name) => ({ name, key: "secretGenerator", at })),
        });
      }
    }
  }
  conversion.files.set(join(dir, fileName), yamlText({ name, chart: "./chart" }));
}

/** A CustomResourceDefinition that is the same wherever it is, as files in `crds/` are no templates. */
function isDefinition({ objects }: Variants): boolean {
  const [first, ...others] = objects.filter((object) => object !== undefined);
  return (
    first?.kind === "CustomResourceDefinition" && others.every((other) => isDeepStrictEqual(other, first))
  );
}

/** Names for values and files: `webDeployment`. */
function keysOf(identities: string[]): Map<string, string> {
  const taken = new Set<string>(["namespace", "global"]);
  return new Map(
    identities.map((identity) => {
      const [kind = "", ...name] = identity.split(" ");
      const parts = name
        .join("-")
        .split(/[^A-Za-z0-9]+/)
        .filter((part) => part !== "");
      const wanted = camel([...parts, kind]).replace(/^\d/, "n$&");
      let key = wanted;
      for (let count = 2; taken.has(key); count++) key = `${wanted}${count}`;
      taken.add(key);
      return [identity, key];
    }),
  );
}

function fileNameOf(key: string): string {
  return key.replaceAll(/[A-Z]+/g, (letters) => `-${letters.toLowerCase()}`);
}

/** What a variant's Secrets hold, as text where it is text. */
function secretsOf(all: Variants[], index: number): Values {
  const found: Values = {};
  for (const { key, objects } of all) {
    const object = objects[index];
    const data = isMapping(object?.["data"]) ? object["data"] : {};
    const plain = isMapping(object?.["stringData"]) ? object["stringData"] : {};
    const opened = Object.entries(data).map(([name, value]): [string, unknown] => {
      const bytes = Buffer.from(String(value), "base64");
      return [name, isUtf8(bytes) ? bytes.toString() : { base64: String(value) }];
    });
    if (opened.length > 0 || Object.keys(plain).length > 0)
      found[key] = { secret: { ...Object.fromEntries(opened), ...plain } };
  }
  return found;
}
