/**
 * Layers of values, from the chart's defaults to what the command line sets, merged as Helm merges them, with the place that
 * each value comes from. Which layers there are is for profiles.ts to say.
 */
import { UserError } from "@kws/base/errors";
import { parseYaml } from "../project/yaml-file.ts";

export type Values = Record<string, unknown>;

export interface Layer {
  /** The profile that it belongs to; `defaults` for the chart's own values. */
  name: string;
  kind: "defaults" | "values" | "secrets";
  file: string;
  /** As the file holds it: secrets are encrypted. */
  text: string;
}

/** A layer whose values are known. Those of secrets exist in memory alone. */
export interface OpenLayer extends Omit<Layer, "text"> {
  values: Values;
  /** `file:line:column` of the value under the keys. */
  at(keys: readonly string[]): string;
}

/** Makes the plain values out of an encrypted file's text; throws `UserError`s that name the file. */
export type Decrypt = (file: string, text: string) => Promise<unknown>;

export async function openLayers(layers: Layer[], decrypt: Decrypt): Promise<OpenLayer[]> {
  return Promise.all(
    layers.map(async ({ name, kind, file, text }) => {
      const secret = kind === "secrets";
      // An encrypted file has the keys of the plain one; what its values are is for SOPS to say.
      const parsed = parseYaml(file, text, secret ? undefined : "helm");
      if (!secret && JSON.stringify(parsed.value ?? null).includes(sealed)) refuseEncrypted(file, text);
      const opened = secret && parsed.value !== null ? await decrypt(file, text) : parsed.value;
      return { name, kind, file, values: toMapping(opened, file), at: (keys) => parsed.at(keys) };
    }),
  );
}

/** What every encrypted value of a SOPS file begins with. */
const sealed = "ENC[AES256_GCM,";

/** Helm would install what stands there, as it stands there. */
function refuseEncrypted(file: string, text: string): never {
  const line = text.split("\n").findIndex((one) => one.includes(sealed));
  throw new UserError(`${file} holds encrypted values, which are only opened in secrets.yaml`, {
    code: "config",
    at: line === -1 ? file : `${file}:${line + 1}:1`,
    fix: "Move them to the profile's secrets.yaml.",
  });
}

function toMapping(value: unknown, file: string): Values {
  if (value === null || value === undefined) return {};
  if (isMapping(value)) return value;
  throw new UserError(`${file} must hold a mapping`, { code: "config", at: `${file}:1:1` });
}

/** What Helm is given: all layers but the chart's defaults, which it reads itself. */
export function mergeLayers(layers: OpenLayer[]): Values {
  return layers
    .filter(({ kind }) => kind !== "defaults")
    .reduce((values: Values, layer) => mergeValues(values, layer.values), {});
}

/** What the templates see: the same over the chart's defaults. */
export function effectiveValues(layers: OpenLayer[]): Values {
  const defaults = layers.find(({ kind }) => kind === "defaults");
  return overDefaults(defaults?.values ?? {}, mergeLayers(layers));
}

/** Later values win; mappings are merged, everything else is replaced, as Helm does with several `--values`. */
export function mergeValues(base: Values, over: Values): Values {
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const before = merged.get(key);
    merged.set(key, isMapping(before) && isMapping(value) ? mergeValues(before, value) : value);
  }
  return Object.fromEntries(merged);
}

/** Like `mergeValues`, but null takes a default away (`coalesceTables` in Helm's `pkg/chart/common/util`). */
function overDefaults(defaults: Values, over: Values): Values {
  const merged = new Map(Object.entries(defaults));
  for (const [key, value] of Object.entries(over)) {
    const before = merged.get(key);
    if (value === null && merged.has(key)) merged.delete(key);
    else merged.set(key, isMapping(before) && isMapping(value) ? overDefaults(before, value) : value);
  }
  return Object.fromEntries(merged);
}

export function isMapping(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
