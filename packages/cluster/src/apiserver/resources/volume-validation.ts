/** The rules of a pod's volumes. */
import { isQuantity } from "@kws/kube/quantity";
import type { StatusCause } from "@kws/kube/status";
import { duplicate, forbidden, invalid, required } from "./cause.ts";
import { checkDns1123Label } from "./names.ts";
import { list, textOf } from "./loose.ts";
import { quantityCauses } from "./quantities.ts";
import type { Fields } from "./resource.ts";

export function validateVolumes(path: string, volumes: Fields[]): StatusCause[] {
  const names = new Set<string>();
  return volumes.flatMap((volume, index) => {
    const at = `${path}[${index}]`;
    const name = String(volume["name"] ?? "");
    const causes: StatusCause[] =
      name === ""
        ? [required(`${at}.name`)]
        : checkDns1123Label(name).map((detail) => invalid(`${at}.name`, name, detail));
    if (name !== "" && names.has(name)) causes.push(duplicate(`${at}.name`, name));
    names.add(name);
    const sources = Object.keys(volume).filter((field) => field !== "name" && volume[field]);
    if (sources.length === 0) causes.push(required(at, "must specify a volume type"));
    for (const extra of sources.slice(1)) {
      causes.push(forbidden(`${at}.${extra}`, "may not specify more than 1 volume type"));
    }
    const source = sources[0] ?? "";
    return [...causes, ...validateSource(`${at}.${source}`, source, volume[source] ?? {})];
  });
}

function validateSource(path: string, kind: string, source: Fields): StatusCause[] {
  switch (kind) {
    case "emptyDir":
      return source["sizeLimit"] !== undefined && isQuantity(source["sizeLimit"])
        ? quantityCauses(path, { sizeLimit: source["sizeLimit"] })
        : [];
    case "hostPath":
      if (!source["path"]) return [required(`${path}.path`)];
      return String(source["path"]).split("/").includes("..")
        ? [invalid(`${path}.path`, source["path"], "must not contain '..'")]
        : [];
    case "secret":
      return [
        ...(source["secretName"] ? [] : [required(`${path}.secretName`)]),
        ...validateMode(`${path}.defaultMode`, source["defaultMode"]),
        ...validateItems(`${path}.items`, list(source["items"])),
      ];
    case "configMap":
      return [
        ...(source["name"] ? [] : [required(`${path}.name`)]),
        ...validateMode(`${path}.defaultMode`, source["defaultMode"]),
        ...validateItems(`${path}.items`, list(source["items"])),
      ];
    case "persistentVolumeClaim":
      return source["claimName"] ? [] : [required(`${path}.claimName`)];
    case "downwardAPI":
      return list(source["items"]).flatMap((item, index) =>
        validatePath(`${path}.items[${index}].path`, item["path"]),
      );
    case "projected":
      return [
        ...validateMode(`${path}.defaultMode`, source["defaultMode"]),
        ...list(source["sources"]).flatMap((item, index) =>
          validateProjection(`${path}.sources[${index}]`, item),
        ),
      ];
    default:
      return [];
  }
}

function validateProjection(path: string, source: Fields): StatusCause[] {
  const token: Fields | undefined = source["serviceAccountToken"] ?? undefined;
  if (token !== undefined) {
    const field = `${path}.serviceAccountToken`;
    const seconds = Number(token["expirationSeconds"]);
    return [
      ...validatePath(`${field}.path`, token["path"]),
      ...(seconds < 600
        ? [invalid(`${field}.expirationSeconds`, seconds, "may not specify a duration less than 10 minutes")]
        : []),
    ];
  }
  for (const kind of ["secret", "configMap"]) {
    if (!source[kind]) continue;
    return [
      ...(source[kind].name ? [] : [required(`${path}.${kind}.name`)]),
      ...validateItems(`${path}.${kind}.items`, list(source[kind].items)),
    ];
  }
  return [];
}

function validateItems(path: string, items: Fields[]): StatusCause[] {
  return items.flatMap((item, index) => [
    ...(item["key"] ? [] : [required(`${path}[${index}].key`)]),
    ...validatePath(`${path}[${index}].path`, item["path"]),
    ...validateMode(`${path}[${index}].mode`, item["mode"]),
  ]);
}

function validatePath(field: string, value: unknown): StatusCause[] {
  const path = textOf(value);
  if (path === "") return [required(field)];
  if (path.startsWith("/")) return [invalid(field, path, "must be a relative path")];
  if (path.split("/").includes("..")) return [invalid(field, path, "must not contain '..'")];
  return path.startsWith("..") ? [invalid(field, path, "must not start with '..'")] : [];
}

function validateMode(field: string, mode: unknown): StatusCause[] {
  if (mode === undefined || mode === null) return [];
  return Number(mode) >= 0 && Number(mode) <= 0o777
    ? []
    : [invalid(field, mode, "must be a number between 0 and 0777 (octal), both inclusive")];
}
