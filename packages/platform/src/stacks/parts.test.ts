import { expect, test } from "vitest";
import { partObjects } from "./parts.ts";

test("an object belongs to the subchart that its template is in, however deep", () => {
  const manifest = `---
# Source: shop/charts/api/templates/a.yaml
kind: Deployment
metadata: { name: api }
---
# Source: shop/charts/web/charts/kws/templates/b.yaml
# only words
kind: ConfigMap
metadata: { name: web }
data:
  text: |
    ---
    # Source: shop/charts/other/templates/c.yaml
---
# Source: shop/templates/own.yaml
kind: ConfigMap
metadata: { name: own }
---
# Source: shop/charts/web/templates/empty.yaml
# nothing
`;
  expect(partObjects(manifest)).toEqual([
    { kind: "Deployment", name: "api", service: "api" },
    { kind: "ConfigMap", name: "web", service: "web" },
  ]);
});
