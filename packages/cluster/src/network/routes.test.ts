import { expect, test } from "vitest";
import { findRoute, routesOf, type Ingress } from "./routes.ts";

const backend = (name: string) => ({ service: { name, port: { number: 80 } } });
const ingress = (name: string, spec: Ingress["spec"]): Ingress => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "Ingress",
  metadata: { name, namespace: "ns" },
  spec,
});
const routes = routesOf([
  ingress("a", {
    rules: [
      {
        host: "app.localhost",
        http: {
          paths: [
            { path: "/", pathType: "Prefix", backend: backend("root") },
            { path: "/api", pathType: "Prefix", backend: backend("api") },
            { path: "/api", pathType: "Exact", backend: backend("exact") },
          ],
        },
      },
      {
        host: "*.wild.localhost",
        http: { paths: [{ path: "/", pathType: "Prefix", backend: backend("wild") }] },
      },
      { http: { paths: [{ path: "/only", pathType: "Exact", backend: backend("any") }] } },
    ],
  }),
  ingress("b", { defaultBackend: backend("default") }),
]);
const find = (host: string, path: string) => findRoute(routes, host, path)?.backend.service?.name;

test.each([
  ["app.localhost:8080", "/", "root"],
  ["APP.localhost", "/apis", "root"],
  ["app.localhost", "/api", "exact"],
  ["app.localhost", "/api/", "api"],
  ["app.localhost", "/api/v1", "api"],
  ["x.wild.localhost", "/", "wild"],
  ["x.y.wild.localhost", "/", "default"],
  ["wild.localhost", "/", "default"],
  ["other", "/only", "any"],
  ["other", "/only/not", "default"],
])("%s%s goes to %s", (host, path, expected) => {
  expect(find(host, path)).toBe(expected);
});

test("a canary shares the place of an Ingress of its namespace, and has none of its own", () => {
  const at = (path: string, name: string) => ({
    rules: [
      { host: "app.localhost", http: { paths: [{ path, pathType: "Prefix", backend: backend(name) }] } },
    ],
  });
  const canary = (name: string, namespace: string, spec: Ingress["spec"]) => {
    const annotations = { "nginx.ingress.kubernetes.io/canary": "true" };
    const one = ingress(name, spec);
    return { ...one, metadata: { ...one.metadata, namespace, annotations } };
  };
  const found = routesOf([
    canary("first", "ns", at("/", "canary")),
    canary("second", "ns", at("/", "late")),
    canary("elsewhere", "ns", at("/api", "lost")),
    ingress("main", at("/", "root")),
    canary("stranger", "other", { defaultBackend: backend("stranger") }),
    ingress("default", { defaultBackend: backend("default") }),
  ]);
  expect(found.map((route) => [route.backend.service?.name, route.canary?.route.ingress])).toEqual([
    ["root", "ns/first"],
    ["default", undefined],
  ]);
});
