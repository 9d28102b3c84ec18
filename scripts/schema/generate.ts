/**
 * Writes the table of built-in shapes that `packages/cluster/src/apiserver/schema` loads, from the Go sources of the
 * Kubernetes API. A maintainer runs it when the supported version changes:
 *
 *     node scripts/schema/generate.ts <folder holding k8s.io/> <version>
 *
 * where the folder is `usr/share/gocode/src` of Debian's golang-k8s-api-dev, golang-k8s-apimachinery-dev,
 * golang-k8s-apiextensions-apiserver-dev and golang-k8s-metrics-dev, unpacked with `dpkg-deb -x`. Two files come out:
 * shapes (`builtin.generated.json`, its encoding is described in builtin.ts) and documentation
 * (`descriptions.generated.json`).
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseGo, type GoField, type GoType } from "./go.ts";

interface Package {
  alias: string;
  /** As OpenAPI names it. */
  name: string;
  path: string;
  apiVersion: string;
}

const api = (group: string, folder: string, version = "v1"): Package => ({
  alias: `${folder}.${version}`,
  name: `io.k8s.api.${folder}.${version}`,
  path: `k8s.io/api/${folder}/${version}`,
  apiVersion: group === "" ? version : `${group}/${version}`,
});

const packages: Package[] = [
  {
    alias: "meta.v1",
    name: "io.k8s.apimachinery.pkg.apis.meta.v1",
    path: "k8s.io/apimachinery/pkg/apis/meta/v1",
    apiVersion: "meta.k8s.io/v1",
  },
  api("", "core"),
  api("apps", "apps"),
  api("batch", "batch"),
  api("networking.k8s.io", "networking"),
  api("discovery.k8s.io", "discovery"),
  api("coordination.k8s.io", "coordination"),
  api("rbac.authorization.k8s.io", "rbac"),
  api("policy", "policy"),
  api("storage.k8s.io", "storage"),
  api("autoscaling", "autoscaling"),
  api("autoscaling", "autoscaling", "v2"),
  api("scheduling.k8s.io", "scheduling"),
  api("events.k8s.io", "events"),
  api("authentication.k8s.io", "authentication"),
  api("authorization.k8s.io", "authorization"),
  api("admissionregistration.k8s.io", "admissionregistration"),
  api("admission.k8s.io", "admission"),
  api("certificates.k8s.io", "certificates"),
  api("node.k8s.io", "node"),
  api("flowcontrol.apiserver.k8s.io", "flowcontrol"),
  api("resource.k8s.io", "resource"),
  {
    alias: "apiextensions.v1",
    name: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    path: "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
    apiVersion: "apiextensions.k8s.io/v1",
  },
  {
    alias: "metrics.v1beta1",
    name: "io.k8s.metrics.pkg.apis.metrics.v1beta1",
    path: "k8s.io/metrics/pkg/apis/metrics/v1beta1",
    apiVersion: "metrics.k8s.io/v1beta1",
  },
  {
    alias: "apiregistration.v1",
    name: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
    path: "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1",
    apiVersion: "apiregistration.k8s.io/v1",
  },
];

/** Go types with a JSON form of their own, as the table's codes. */
const special = new Map([
  ["string", "s"],
  ["bool", "b"],
  ["int", "l"],
  ["int32", "i"],
  ["uint32", "i"],
  ["int64", "l"],
  ["uint64", "l"],
  ["float64", "d"],
  ["k8s.io/apimachinery/pkg/api/resource.Quantity", "q"],
  ["k8s.io/apimachinery/pkg/util/intstr.IntOrString", "o"],
  ["k8s.io/apimachinery/pkg/runtime.RawExtension", "r"],
  ["k8s.io/apimachinery/pkg/runtime.Object", "r"],
  ["k8s.io/apimachinery/pkg/types.UID", "s"],
  ["k8s.io/apimachinery/pkg/types.NodeName", "s"],
  ["k8s.io/apimachinery/pkg/types.NamespacedName", "r"],
  ["k8s.io/apimachinery/pkg/apis/meta/v1.Time", "t"],
  ["k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime", "u"],
  ["k8s.io/apimachinery/pkg/apis/meta/v1.Duration", "D"],
  ["k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1", "f"],
  ["k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON", "j"],
  ["k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool", "B"],
  ["k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray", "Y"],
  ["k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray", "Z"],
]);

const [root, version] = process.argv.slice(2);
if (root === undefined || version === undefined) {
  throw new Error("usage: node scripts/schema/generate.ts <folder holding k8s.io/> <version>");
}

const declared = new Map<string, GoType>();
for (const { path } of packages) {
  const own = path.includes("kube-aggregator");
  const folder = own ? import.meta.dirname : join(root, path);
  for (const file of await readdir(folder)) {
    const wanted = own
      ? file === "apiregistration.go.txt"
      : /^\w+\.go$/.test(file) && !/_test|generated/.test(file);
    if (!wanted) continue;
    for (const type of parseGo(await readFile(join(folder, file), "utf8"))) {
      declared.set(`${path}.${type.name}`, type);
    }
  }
}

const types: Record<string, string> = {};
const descriptions: Record<string, Record<string, string>> = {};
const header: string[][] = [];
for (const { alias, name, path, apiVersion } of packages) {
  const kinds: string[] = [];
  for (const [key, type] of declared) {
    if (key !== `${path}.${type.name}` || !type.isKind || type.name === "InternalEvent") continue;
    kinds.push(type.name);
    emit(path, type);
  }
  header.push([alias, name, apiVersion, kinds.sort().join(" ")]);
}
for (const name of ["Condition", "GroupVersionKind", "GroupVersionResource"]) {
  const type = declared.get(`k8s.io/apimachinery/pkg/apis/meta/v1.${name}`);
  if (type !== undefined) emit("k8s.io/apimachinery/pkg/apis/meta/v1", type);
}

const target = join(import.meta.dirname, "../../packages/cluster/src/apiserver/schema");
await writeFile(
  join(target, "builtin.generated.json"),
  `${JSON.stringify({ version, packages: header, types: sorted(types) }, null, 0).replaceAll('","', '",\n"')}\n`,
);
await writeFile(
  join(target, "descriptions.generated.json"),
  `${JSON.stringify({ version, types: sorted(descriptions) }).replaceAll('"},"', '"},\n"')}\n`,
);
console.log(
  `${Object.keys(types).length} types, ${
    header
      .map((row) => row[3])
      .join(" ")
      .split(" ").length
  } kinds`,
);

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function aliasOf(path: string): string {
  const found = packages.find((candidate) => candidate.path === path);
  if (found === undefined) throw new Error(`package ${path} is referred to but not listed`);
  return found.alias;
}

/** Adds a struct and, through its fields, all that it refers to. */
function emit(path: string, type: GoType): string {
  const key = `${aliasOf(path)}.${type.name}`;
  if (types[key] !== undefined) return key;
  types[key] = "";
  const docs: Record<string, string> = { "": type.description };
  const fields = type.fields.map((field) => {
    if (!field.json.inline) docs[field.json.name] = field.description;
    return encodeField(path, type, field);
  });
  const flags = type.markers.get("structType")?.[0] === "atomic" ? "a" : "";
  types[key] = [`${flags}${type.isKind ? "k" : ""}`, ...fields].join("|");
  descriptions[key] = docs;
  return key;
}

function encodeField(path: string, owner: GoType, field: GoField): string {
  const pointer = field.type.startsWith("*");
  const code = encodeType(path, owner, pointer ? field.type.slice(1) : field.type);
  if (field.json.inline) return `~ ${field.number ?? 0} ${code}`;
  const marker = (name: string) => field.markers.get(name)?.[0];
  const optional = field.json.omitempty || pointer || field.markers.has("optional");
  const parts = [field.json.name, String(field.number ?? 0), code];
  if (!optional || (field.markers.has("required") && !field.markers.has("optional"))) parts.push("r");
  if (field.json.omitempty) parts.push("o");
  if (pointer) parts.push("p");
  const listType = marker("listType");
  if (listType === "set") parts.push("S");
  if (listType === "map") parts.push(`K=${(field.markers.get("listMapKey") ?? []).join(",")}`);
  if (marker("mapType") === "atomic" || marker("structType") === "atomic") parts.push("a");
  if (field.patchStrategy !== undefined) parts.push(`P=${field.patchStrategy}`);
  if (field.patchMergeKey !== undefined) parts.push(`M=${field.patchMergeKey}`);
  const value = marker("default");
  if (value !== undefined) parts.push(`D=${resolveDefault(path, value)}`);
  return parts.join(" ");
}

/** `ref(Name)` stands for a constant of the package; the two that exist are known. */
function resolveDefault(path: string, value: string): string {
  const constants = new Map([
    ["ref(AzureSharedBlobDisk)", '"Shared"'],
    ["ref(AzureDataDiskCachingReadWrite)", '"ReadWrite"'],
  ]);
  const text = constants.get(value) ?? value;
  JSON.parse(text);
  if (/[ |]/.test(text)) throw new Error(`default ${text} in ${path} cannot be encoded`);
  return text;
}

function encodeType(path: string, owner: GoType, type: string): string {
  if (type === "[]byte") return "y";
  if (type.startsWith("*")) return encodeType(path, owner, type.slice(1));
  if (type.startsWith("[]")) return `[${encodeType(path, owner, type.slice(2))}`;
  const map = /^map\[[^\]]+\](.+)$/.exec(type);
  if (map !== null) return `{${encodeType(path, owner, map[1] ?? "")}`;
  if (type === "interface{}" || type === "any") return "r";
  const dot = type.indexOf(".");
  const home = dot < 0 ? path : (owner.imports.get(type.slice(0, dot)) ?? type.slice(0, dot));
  const name = type.slice(dot + 1);
  const code = special.get(`${home}.${name}`) ?? (dot < 0 ? special.get(name) : undefined);
  if (code !== undefined) return code;
  const found = declared.get(`${home}.${name}`);
  if (found === undefined) throw new Error(`${owner.name}: type ${type} (${home}.${name}) is not declared`);
  if (found.alias === undefined) return `@${emit(home, found)}`;
  // A named slice is a message of its own on the wire.
  if (found.markers.has("protobuf.nullable") && found.alias.startsWith("[]"))
    return `<${encodeType(home, found, found.alias).slice(1)}`;
  return encodeType(home, found, found.alias);
}
