/** The values that a package is deployed with: those of the profile, and what the command line sets over them. */
import { UserError } from "@kws/base/errors";
import type { Chart } from "../charts/chart.ts";
import { effectiveValues, isMapping, mergeLayers, mergeValues, type Values } from "../charts/layers.ts";
import { keyPath, parseKeyPath } from "../project/key-path.ts";
import { parseYaml } from "../project/yaml-file.ts";

/** The chart with one layer more: `key=value` each, the value as in a chart's values. */
export function withSet(chart: Chart, settings: string[]): Chart {
  if (settings.length === 0) return chart;
  const values = settings.map(readSetting).reduce(mergeValues, {});
  const at = (keys: readonly string[]) => `--set ${keyPath([...keys])}`;
  const layers = [...chart.layers, { name: "--set", kind: "values" as const, file: "--set", values, at }];
  return { ...chart, layers, values: mergeLayers(layers) };
}

function readSetting(setting: string): Values {
  const split = /(?<!\\)=/.exec(setting)?.index;
  if (split === undefined) {
    throw new UserError(`--set needs key=value, not "${setting}"`, { code: "usage" });
  }
  const path = parseKeyPath(setting.slice(0, split));
  if (path.some((part) => typeof part === "number")) {
    throw new UserError(`--set cannot change one entry of a list: "${setting.slice(0, split)}"`, {
      code: "usage",
      fix: "Set the whole list: --set 'hosts=[a.example.com, b.example.com]'.",
    });
  }
  const { value } = parseYaml(`--set ${keyPath(path)}`, setting.slice(split + 1), "helm");
  return path.toReversed().reduce((inner: unknown, key) => ({ [key]: inner }), value) as Values;
}

/** Throws `config` where a layer would run another image than the package pins, whichever way it sets it. */
export function refuseOtherImages(chart: Chart, digests: string[]): void {
  const defaults = chart.layers.find(({ kind }) => kind === "defaults")?.values ?? {};
  compareImages(defaults, effectiveValues(chart.layers), digests, []);
}

function compareImages(defaults: Values, values: Values, digests: string[], keys: string[]): void {
  if (typeof defaults["digest"] === "string" && digests.includes(defaults["digest"])) {
    for (const key of ["repository", "digest"]) {
      if (values[key] === defaults[key]) continue;
      throw new UserError(`${keyPath([...keys, key])} may not be set: the package pins the image`, {
        code: "config",
        fix: "Remove it; another image is another package.",
      });
    }
  }
  for (const [key, inner] of Object.entries(defaults)) {
    const other = values[key];
    if (isMapping(inner) && isMapping(other)) compareImages(inner, other, digests, [...keys, key]);
  }
}
