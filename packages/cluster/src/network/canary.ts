/**
 * Which requests go to a canary: the annotations of ingress-nginx
 * (https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary), with its precedence: header, cookie, weight.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { KubeObject } from "@kws/kube/object";

export interface CanaryRule {
  /** Lower case. */
  header?: string;
  headerValue?: string;
  headerPattern?: RegExp;
  cookie?: string;
  /** Of `total` requests so many; by chance, and for each request anew. */
  weight: number;
  total: number;
}

const prefix = "nginx.ingress.kubernetes.io/";

/** Undefined for an Ingress that is no canary. What cannot be read counts as not given. */
export function canaryRuleOf({ metadata }: KubeObject): CanaryRule | undefined {
  const said = (name: string) => metadata.annotations?.[`${prefix}${name}`] || undefined;
  if (said("canary") !== "true") return undefined;
  const header = said("canary-by-header")?.toLowerCase();
  const headerValue = said("canary-by-header-value");
  const headerPattern = patternOf(said("canary-by-header-pattern"));
  const cookie = said("canary-by-cookie");
  return {
    ...(header === undefined ? {} : { header }),
    ...(headerValue === undefined ? {} : { headerValue }),
    ...(headerPattern === undefined ? {} : { headerPattern }),
    ...(cookie === undefined ? {} : { cookie }),
    weight: numberOf(said("canary-weight")) ?? 0,
    total: Math.max(100, numberOf(said("canary-weight-total")) ?? 100),
  };
}

/** `draw` answers a number from 0 to below 1, as Math.random does. */
export function goesToCanary(rule: CanaryRule, headers: IncomingHttpHeaders, draw: () => number): boolean {
  const sent = rule.header === undefined ? undefined : headers[rule.header];
  if (sent !== undefined) {
    const value = String(sent);
    if (rule.headerValue !== undefined) {
      if (value === rule.headerValue) return true;
    } else if (rule.headerPattern !== undefined) {
      if (rule.headerPattern.test(value)) return true;
    } else if (value === "always") return true;
    else if (value === "never") return false;
  }
  const cookie = rule.cookie === undefined ? undefined : cookieOf(headers.cookie, rule.cookie);
  if (cookie === "always") return true;
  if (cookie === "never") return false;
  return draw() * rule.total < rule.weight;
}

function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? "").split(";")) {
    const [key = "", ...value] = pair.split("=");
    if (key.trim() === name) return value.join("=").trim();
  }
  return undefined;
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

function patternOf(text: string | undefined): RegExp | undefined {
  if (text === undefined) return undefined;
  try {
    return new RegExp(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
