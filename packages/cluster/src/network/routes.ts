/** Which backend an HTTP request goes to, from the rules of all Ingresses (https://kubernetes.io/docs/concepts/services-networking/ingress/). */
import { keyOf, type KubeObject } from "@kws/kube/object";
import { canaryRuleOf, type CanaryRule } from "./canary.ts";

export interface IngressBackend {
  service?: { name: string; port?: { number?: number; name?: string } };
}

export interface Ingress extends KubeObject {
  spec: {
    ingressClassName?: string;
    defaultBackend?: IngressBackend;
    tls?: { hosts?: string[]; secretName?: string }[];
    rules?: {
      host?: string;
      http?: { paths: { path?: string; pathType: string; backend: IngressBackend }[] };
    }[];
  };
}

export interface Route {
  /** Lower case; `*.example.com` for one label in place of the star; empty for any host. */
  host: string;
  path: string;
  exact: boolean;
  namespace: string;
  backend: IngressBackend;
  /** A `defaultBackend`, behind all rules. */
  fallback?: true;
  /** `namespace/name` of the Ingress, for messages. */
  ingress: string;
  /** Takes some of its requests. */
  canary?: { route: Route; rule: CanaryRule };
}

/**
 * Routes in the order in which they are to be tried: hosts before wildcards before any, longer paths first, exact before prefix.
 * A canary has no places of its own, and shares those that another Ingress of its namespace has.
 */
export function routesOf(all: Ingress[]): Route[] {
  const routes: Route[] = [];
  const canaries: { route: Route; rule: CanaryRule }[] = [];
  for (const ingress of byAge(all)) {
    const rule = canaryRuleOf(ingress);
    const own = routesOfOne(ingress);
    if (rule === undefined) routes.push(...own);
    else canaries.push(...own.map((route) => ({ route, rule })));
  }
  for (const canary of canaries) {
    const { host, path, exact, namespace, fallback } = canary.route;
    const main = routes.find(
      (route) =>
        route.namespace === namespace &&
        route.host === host &&
        route.path === path &&
        route.exact === exact &&
        route.fallback === fallback,
    );
    if (main !== undefined) main.canary ??= canary;
  }
  return routes.sort(
    (a, b) =>
      Number(a.fallback ?? false) - Number(b.fallback ?? false) ||
      rank(a.host) - rank(b.host) ||
      b.host.length - a.host.length ||
      b.path.length - a.path.length ||
      Number(b.exact) - Number(a.exact),
  );
}

function routesOfOne(ingress: Ingress): Route[] {
  const base = { namespace: ingress.metadata.namespace ?? "", ingress: keyOf(ingress) };
  const routes = (ingress.spec.rules ?? []).flatMap(({ host = "", http }) =>
    (http?.paths ?? []).flatMap(({ path = "/", pathType, backend }): Route[] => [
      { ...base, host: host.toLowerCase(), path: path || "/", exact: pathType === "Exact", backend },
    ]),
  );
  const { defaultBackend: backend } = ingress.spec;
  if (backend !== undefined)
    routes.push({ ...base, host: "", path: "/", exact: false, fallback: true, backend });
  return routes;
}

/** As other controllers do: of two that claim the same place the older one has it. */
export function byAge(ingresses: Ingress[]): Ingress[] {
  return ingresses.toSorted((a, b) =>
    (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""),
  );
}

/** Hosts before wildcards before any. */
export function rank(host: string): number {
  if (host === "") return 2;
  return host.startsWith("*.") ? 1 : 0;
}

/** The first route for the Host header (a port is ignored) and the path without its query. */
export function findRoute(routes: Route[], hostHeader: string, path: string): Route | undefined {
  const host = hostHeader.replace(/:\d+$/, "").toLowerCase();
  // Rules of the best matching host hide those of less specific ones, even when none of their paths fits.
  const matching = routes.filter((route) => matchesHost(route.host, host));
  const [first] = matching;
  if (first === undefined) return undefined;
  return (
    matching.find((route) => route.host === first.host && matchesPath(route, path)) ??
    matching.find(
      (route) => route.host === "" && route.path === "/" && !route.exact && matchesPath(route, path),
    )
  );
}

export function matchesHost(pattern: string, host: string): boolean {
  if (pattern === "") return true;
  if (!pattern.startsWith("*.")) return pattern === host;
  const dot = host.indexOf(".");
  return dot > 0 && host.slice(dot) === pattern.slice(1);
}

/** Prefixes match whole path elements: `/foo` fits `/foo/bar` and not `/foobar`. */
function matchesPath({ path, exact }: Route, requested: string): boolean {
  if (exact) return requested === path;
  const prefix = path.endsWith("/") ? path.slice(0, -1) : path;
  return requested === prefix || requested.startsWith(`${prefix}/`);
}
