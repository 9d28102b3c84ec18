import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silent } from "@kws/base/logger";
import { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { customResourceDefinitions } from "@kws/kube/resources";
import { startApiServer } from "./server.ts";
import { expect, test, vi } from "vitest";
import { refusal, serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

test("a definition that makes no sense is stored, and the server serves and starts all the same", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "apiserver-"));
  const options = { dataDir, logger: silent, now: Date.now, streams: () => undefined };
  const definition = (plural: string, version: object): KubeObject => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.example.com` },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural, singular: plural, kind: plural, listKind: `${plural}List` },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object" } },
          ...version,
        },
      ],
    },
  });
  for (const round of ["one", "two"]) {
    const server = await startApiServer(options);
    const admin = new KubeClient(server.transport());
    const paths = ["[?(@", `.${"x".repeat(5000)}`];
    for (const [index, jsonPath] of paths.entries()) {
      const columns = { additionalPrinterColumns: [{ name: "Column", type: "string", jsonPath }] };
      const served = definition(`${round}${index}s`, columns);
      await admin.create(customResourceDefinitions, served).catch(() => undefined);
    }
    const fine = definition(`${round}fines`, {});
    await admin.create(customResourceDefinitions, fine);
    await vi.waitFor(async () => {
      const { conditions } = (await admin.get(customResourceDefinitions, fine.metadata.name))["status"] as {
        conditions: { type: string; status: string }[];
      };
      expect(conditions).toContainEqual(expect.objectContaining({ type: "Established", status: "True" }));
    });
    await server.close();
  }
  await rm(dataDir, { recursive: true });
});

test("a custom resource is served once its definition is established and is gone with it", async () => {
  const crds = {
    group: "apiextensions.k8s.io",
    version: "v1",
    resource: "customresourcedefinitions",
    namespaced: false,
  };
  const widgets = { group: "example.com", version: "v1", resource: "widgets", namespaced: true };
  const schema = {
    type: "object",
    properties: { spec: { type: "object", properties: { size: { type: "integer", default: 3 } } } },
  };
  await api.client.create(crds, {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "widgets", kind: "Widget" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  });
  await expect
    .poll(() =>
      api.client.list(widgets, api.namespace).then(
        ({ kind }) => kind,
        () => "none",
      ),
    )
    .toBe("WidgetList");
  const widget = {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w", namespace: api.namespace },
    spec: { color: "red" },
  };
  const created = await api.client.create(widgets, widget);
  expect(created.spec).toEqual({ size: 3 });
  await api.client.delete(crds, "widgets.example.com");
  await expect.poll(() => api.client.find(crds, "widgets.example.com")).toBeUndefined();
  expect((await refusal(api.client.get(widgets, "w", api.namespace))).code).toBe(404);
});

test("a default that is added counts for objects that are stored already", async () => {
  const crds = {
    group: "apiextensions.k8s.io",
    version: "v1",
    resource: "customresourcedefinitions",
    namespaced: false,
  };
  const gadgets = { group: "example.com", version: "v1", resource: "gadgets", namespaced: true };
  const versions = (size: object) => {
    const properties = { spec: { type: "object", properties: { size } } };
    return [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", properties } },
      },
    ];
  };
  await api.client.create(crds, {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "gadgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "gadgets", kind: "Gadget" },
      versions: versions({ type: "integer" }),
    },
  });
  await vi.waitFor(() => api.client.list(gadgets, api.namespace));
  await api.client.create(gadgets, {
    apiVersion: "example.com/v1",
    kind: "Gadget",
    metadata: { name: "g", namespace: api.namespace },
    spec: {},
  });
  const spec = { versions: versions({ type: "integer", default: 3 }) };
  await api.client.patch(crds, "gadgets.example.com", undefined, "merge", { spec });
  expect((await api.client.get(gadgets, "g", api.namespace)).spec).toEqual({ size: 3 });
  expect((await api.client.list(gadgets, api.namespace)).items).toMatchObject([{ spec: { size: 3 } }]);
});
