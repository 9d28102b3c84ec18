/**
 * A service's chart as Helm renders it for a stack. Nothing is decrypted for it: what is secret is filled in by values of the
 * same type, so that no finding can tell one, and a machine without the keys sees the same.
 */
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { parse, parseAllDocuments } from "yaml";
import { type Chart, loadChart } from "../charts/chart.ts";
import { isMapping, mergeValues } from "../charts/layers.ts";
import { renderManifests } from "../charts/render.ts";
import { placeholderValues } from "../images/build.ts";
import type { ProjectService, ProjectStack } from "../project/workspace.ts";
import { faultOf } from "./finding.ts";

export interface RenderedObject {
  object: KubeObject;
  /** The template's path, from the chart's name on. */
  template: string;
}

export interface RenderedService {
  service: ProjectService;
  stack: ProjectStack;
  chart: Chart;
  objects: RenderedObject[];
  /** Why it could not be rendered. */
  fault?: UserError;
}

/** Undefined where there is no chart to render; whoever looks for the chart says so. */
export async function renderService(
  service: ProjectService,
  stack: ProjectStack,
  options: { helm: string; env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<RenderedService | undefined> {
  const loaded = await loadChart(service, stack.profile, standIns).catch(faultOf);
  if (loaded instanceof UserError) return undefined;
  const chart = { ...loaded, values: mergeValues(loaded.values, placeholderValues(service)) };
  const place = { release: service.name, namespace: stack.namespace, ...options };
  const text = await renderManifests(chart, place).catch(faultOf);
  if (text instanceof UserError) return { service, stack, chart, objects: [], fault: text };
  return { service, stack, chart, objects: objectsIn(text) };
}

function objectsIn(text: string): RenderedObject[] {
  return parseAllDocuments(text).flatMap((document) => {
    const object: unknown = document.toJS();
    if (!isMapping(object) || typeof object["kind"] !== "string" || !isMapping(object["metadata"])) return [];
    const template = /^ *Source: (.+)$/m.exec(
      document.commentBefore ?? document.contents?.commentBefore ?? "",
    );
    return [{ object: object as unknown as KubeObject, template: template?.[1] ?? "" }];
  });
}

/** A `Decrypt` that opens nothing: each encrypted value is one of its type (https://github.com/getsops/sops#encrypting-values). */
export async function standIns(_file: string, text: string): Promise<unknown> {
  const value: unknown = parse(text);
  return isMapping(value)
    ? filled(Object.fromEntries(Object.entries(value).filter(([key]) => key !== "sops")))
    : {};
}

const examples: Record<string, unknown> = { int: 1, float: 1.5, bool: true };

function filled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(filled);
  if (isMapping(value))
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, filled(inner)]));
  if (typeof value !== "string" || !value.startsWith("ENC[")) return value;
  return examples[/,type:(\w+)\]$/.exec(value)?.[1] ?? ""] ?? "secret";
}
