import { expect, test } from "vitest";
import type { Chart } from "../charts/chart.ts";
import { type OpenLayer, mergeLayers, type Values } from "../charts/layers.ts";
import { refuseOtherImages, withSet } from "./values.ts";

function layer(kind: OpenLayer["kind"], values: Values): OpenLayer {
  return { name: kind, kind, file: kind, values, at: () => kind };
}

function chartOf(...layers: OpenLayer[]): Chart {
  const base = {
    dir: "/chart",
    name: "api",
    version: "1.0.0",
    digest: "",
    hasProfile: true,
    hasHooks: false,
  };
  return { ...base, layers, values: mergeLayers(layers) };
}

test("what is set comes over the profile's secrets, with the types that Helm gives values", () => {
  const chart = chartOf(layer("defaults", { a: 1 }), layer("secrets", { db: { user: "x", port: 1 } }));
  const set = withSet(chart, [
    "db.port=5432",
    "tls=yes",
    "hosts=[a, b]",
    String.raw`labels.example\.com/x=y=z`,
    "a=null",
  ]);
  expect(set.values).toEqual({
    db: { user: "x", port: 5432 },
    tls: true,
    hosts: ["a", "b"],
    labels: { "example.com/x": "y=z" },
    a: null,
  });
});

test.each([
  ["replicas", "key=value"],
  ["=3", "is not a key"],
  ["hosts[0]=a", "one entry of a list"],
])("--set %s is a usage error", (setting, message) => {
  expect(() => withSet(chartOf(), [setting])).toThrow(expect.objectContaining({ code: "usage" }));
  expect(() => withSet(chartOf(), [setting])).toThrow(message);
});

test.each([
  [{ image: { digest: "sha256:other" } }, "image.digest"],
  [{ image: { repository: "elsewhere" } }, "image.repository"],
  [{ image: { digest: null } }, "image.digest"],
  [{ web: { image: { digest: "" } } }, "web.image.digest"],
])("another image than the pinned one is refused: %j", (values, key) => {
  const image = { repository: "api", tag: "1", digest: "sha256:pinned" };
  const defaults = layer("defaults", { image, web: { image } });
  const refused = () => refuseOtherImages(chartOf(defaults, layer("secrets", values)), ["sha256:pinned"]);
  expect(refused).toThrow(`${key} may not be set`);
  const other = layer("values", { image: { tag: "2", pullPolicy: "Always" }, sidecar: { digest: "" } });
  expect(() => refuseOtherImages(chartOf(defaults, other), ["sha256:pinned"])).not.toThrow();
});
