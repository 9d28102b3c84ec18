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
