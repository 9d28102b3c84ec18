/** ConfigMaps and Secrets. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { duplicate, forbidden, immutable, invalid, required, same } from "./cause.ts";
import { checkConfigMapKey } from "./names.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn } from "./table.ts";

const maximum = 1024 * 1024;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function checkKeys(field: string, data: Fields | undefined | null): StatusCause[] {
  return Object.keys(data ?? {}).flatMap((key) =>
    checkConfigMapKey(key).map((detail) => invalid(`${field}[${key}]`, key, detail)),
  );
}

function checkBase64(field: string, data: Fields | undefined | null): StatusCause[] {
  return Object.entries(data ?? {}).flatMap(([key, value]) =>
    typeof value === "string" && base64.test(value.replaceAll(/[\r\n]/g, ""))
      ? []
      : [invalid(`${field}[${key}]`, "<hidden>", "must be base64-encoded")],
  );
}

function decodedSize(data: Fields | undefined | null): number {
  return Object.values(data ?? {}).reduce(
    (sum, value) => sum + Buffer.byteLength(String(value), "base64"),
    0,
  );
}

function textSize(data: Fields | undefined | null): number {
  return Object.values(data ?? {}).reduce((sum, value) => sum + Buffer.byteLength(String(value)), 0);
}

/** Once `immutable` is true, neither it nor the data may change. */
function checkImmutable(object: KubeObject, old: KubeObject | undefined, fields: string[]): StatusCause[] {
  if (old?.["immutable"] !== true) return [];
  const causes = fields
    .filter((field) => !same(object[field] ?? {}, old[field] ?? {}))
    .map((field) => forbidden(field, "field is immutable when `immutable` is set"));
  if (object["immutable"] !== true) {
    causes.unshift(forbidden("immutable", "field is immutable when `immutable` is set"));
  }
  return causes;
}

const tooLarge = (field: string): StatusCause => ({
  reason: "FieldValueTooLong",
  message: `Too long: may not be more than ${maximum} bytes`,
  field,
});

export const configMap: ResourceDefinition = define(
  { group: "", kind: "ConfigMap", resource: "configmaps" },
  {
    shortNames: ["cm"],
    validate(object, old) {
      const { data, binaryData } = object;
      const causes = [
        ...checkKeys("data", data),
        ...checkKeys("binaryData", binaryData),
        ...checkBase64("binaryData", binaryData),
        ...Object.keys(data ?? {})
          .filter((key) => Object.hasOwn(binaryData ?? {}, key))
          .map((key) => invalid(`data[${key}]`, key, "duplicate of key present in binaryData")),
        ...checkImmutable(object, old, ["data", "binaryData"]),
      ];
      if (textSize(data) + decodedSize(binaryData) > maximum) causes.push(tooLarge(""));
      return causes;
    },
    columns: [nameColumn, column("Data", "Number of keys."), ageColumn],
    row(object, now) {
      const keys = Object.keys(object["data"] ?? {}).length + Object.keys(object["binaryData"] ?? {}).length;
      return [object.metadata.name, String(keys), age(object, now)];
    },
  },
);

/** Keys that a Secret of a type must hold. */
const requiredKeys: Record<string, string[]> = {
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
};

export const secret: ResourceDefinition = define(
  { group: "", kind: "Secret", resource: "secrets" },
  {
    setDefaults(object) {
      object["type"] ||= "Opaque";
      const plain: Fields | undefined = object["stringData"] ?? undefined;
      if (plain !== undefined) {
        object["data"] ??= {};
        for (const [key, value] of Object.entries(plain)) {
          object["data"][key] = Buffer.from(String(value)).toString("base64");
        }
      }
      delete object["stringData"];
    },
    prepareForUpdate(object, old) {
      object["type"] ||= old["type"];
    },
    validate(object, old) {
      const data: Fields = object["data"] ?? {};
      const causes = [...checkKeys("data", data), ...checkBase64("data", data)];
      if (decodedSize(data) > maximum) causes.push(tooLarge("data"));
      const type = String(object["type"]);
      for (const key of requiredKeys[type] ?? []) {
        if (data[key] === undefined || data[key] === null) causes.push(required(`data[${key}]`));
      }
      if (
        type === "kubernetes.io/basic-auth" &&
        data["username"] === undefined &&
        data["password"] === undefined
      ) {
        causes.push(required("data[username]"), required("data[password]"));
      }
      for (const key of [".dockercfg", ".dockerconfigjson"]) {
        if ((requiredKeys[type] ?? []).includes(key) && data[key] !== undefined) {
          causes.push(...checkJson(`data[${key}]`, String(data[key])));
        }
      }
      if (type === "kubernetes.io/service-account-token") {
        const annotation = "kubernetes.io/service-account.name";
        if (!object.metadata.annotations?.[annotation])
          causes.push(required(`metadata.annotations[${annotation}]`));
      }
      if (old !== undefined) causes.push(...immutable("type", object["type"], old["type"]));
      return [...causes, ...checkImmutable(object, old, ["data"])];
    },
    selectableFields: { type: (object) => object["type"] ?? "" },
    columns: [
      nameColumn,
      column("Type", "What the data is for."),
      column("Data", "Number of keys."),
      ageColumn,
    ],
    row(object, now) {
      return [
        object.metadata.name,
        object["type"] ?? "",
        String(Object.keys(object["data"] ?? {}).length),
        age(object, now),
      ];
    },
  },
);

function checkJson(field: string, encoded: string): StatusCause[] {
  try {
    JSON.parse(Buffer.from(encoded, "base64").toString("utf8"));
    return [];
  } catch (error) {
    // The parser's own message may quote the secret.
    void error;
    return [invalid(field, "<secret contents redacted>", "invalid JSON")];
  }
}

export const serviceAccount: ResourceDefinition = define(
  { group: "", kind: "ServiceAccount", resource: "serviceaccounts" },
  {
    shortNames: ["sa"],
    validate(object) {
      const names = (object["secrets"] ?? []).map((entry: Fields) => entry["name"]);
      return names.flatMap((name: unknown, index: number) =>
        names.indexOf(name) < index ? [duplicate(`secrets[${index}].name`, name)] : [],
      );
    },
    columns: [nameColumn, column("Secrets", "Number of Secrets that belong to it."), ageColumn],
    row: (object, now) => [object.metadata.name, String((object["secrets"] ?? []).length), age(object, now)],
  },
);
