/**
 * All that can be known of a deployment before a cluster is touched: the package, its chart with the profile opened, and the
 * manifests that Helm will make of them.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Chart } from "../charts/chart.ts";
import { readChart } from "../charts/chart.ts";
import { type Decrypt, effectiveValues } from "../charts/layers.ts";
import { renderManifests, type RenderOptions } from "../charts/render.ts";
import {
  fetchPackage,
  type FoundPackage,
  type PackageRef,
  type PackageSource,
  unpackPackage,
} from "./fetch.ts";
import { reworded } from "./reword.ts";
import { mayRenderSealed, refuseSealedManifests, refuseSealedValues, secretsFiles } from "./sealed.ts";
import { refuseOtherImages, withSet } from "./values.ts";

export interface PrepareOptions {
  source: PackageSource;
  /** Private, and removed by the caller; the chart is unpacked there, its secrets encrypted. */
  folder: string;
  decrypt: Decrypt;
  profile: string;
  /** `key=value` each, over the profile's values. */
  settings: string[];
  signal: AbortSignal;
}

/** A package, ready to be deployed with a profile. The values of its secrets are in memory alone. */
export interface Prepared {
  found: FoundPackage;
  chart: Chart;
  profile: string;
  settings: string[];
  /** Whether something encrypted could get into the manifests: then they have to be rendered and looked at before. */
  renderFirst: boolean;
}

export async function prepare(wanted: PackageRef, options: PrepareOptions): Promise<Prepared> {
  const found = await fetchPackage(options.source, wanted, { signal: options.signal });
  return openPackage(found, options);
}

/** `prepare` for a package that was fetched already. */
export async function openPackage(
  found: FoundPackage,
  options: Omit<PrepareOptions, "source" | "signal">,
): Promise<Prepared> {
  const { folder, profile, settings } = options;
  const dir = await unpackPackage(found, folder);
  return reworded(inPackage(found, dir), async () => {
    const chart = withSet(await readChart(dir, profile, options.decrypt), settings);
    refuseSealedValues(effectiveValues(chart.layers));
    refuseOtherImages(
      chart,
      found.images.map(({ digest }) => digest),
    );
    const renderFirst = mayRenderSealed(found.files, chart.values);
    // What Helm is not given cannot get into a manifest.
    const withheld = renderFirst ? [] : secretsFiles(found.files);
    await Promise.all(withheld.map((path) => rm(join(dir, "..", path))));
    return { found, chart, profile, settings, renderFirst };
  });
}

/** Words of an error, with places in the package instead of where it was unpacked: `payments 1.4.0: profiles/qa/secrets.yaml:3:5`. */
export function inPackage({ service, version }: FoundPackage, dir: string): (text: string) => string {
  const name = `${service} ${version}`;
  return (text) => text.replaceAll(`${dir}/`, `${name}: `).replaceAll(dir, name);
}

/**
 * What Helm makes of it; refused where something in it is still encrypted. Rendered without the cluster, which is quicker, unless
 * that fails: a chart may ask what the cluster can do.
 */
export async function renderPrepared(
  one: Prepared,
  options: Omit<RenderOptions, "release">,
): Promise<string> {
  const { kubeconfig, ...offline } = { ...options, release: one.found.service };
  return reworded(inPackage(one.found, one.chart.dir), async () => {
    const manifests = await renderManifests(one.chart, offline).catch((error: unknown) => {
      if (kubeconfig === undefined) throw error;
      return renderManifests(one.chart, { ...offline, kubeconfig });
    });
    refuseSealedManifests(manifests);
    return manifests;
  });
}
