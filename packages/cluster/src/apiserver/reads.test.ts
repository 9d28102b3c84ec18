import { configMaps } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { configMap, refusal, serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

test("a forged continue token is the client's error", async () => {
  const forged = Buffer.from(JSON.stringify({ rv: 9e14, start: "" })).toString("base64url");
  const path = `/api/v1/namespaces/${api.namespace}/configmaps?limit=1&continue=${forged}`;
  const { status } = await api.server.transport().request({ method: "GET", path });
  expect(status).toBe(400);
});

test("pages show one state of the list, whatever is written between them", async () => {
  for (const name of ["a", "b", "c", "d"])
    await api.client.create(configMaps, configMap(api.namespace, name));
  const first = await api.client.list(configMaps, api.namespace, { limit: 2 });
  expect(first.metadata.remainingItemCount).toBe(2);
  await api.client.delete(configMaps, "c", api.namespace);
  await api.client.create(configMaps, configMap(api.namespace, "e"));
  const second = await api.client.list(configMaps, api.namespace, {
    limit: 2,
    continue: first.metadata.continue,
  });
  expect([...first.items, ...second.items].map(({ metadata }) => metadata.name)).toEqual([
    "a",
    "b",
    "c",
    "d",
  ]);
  expect(second.metadata.continue).toBeUndefined();
  expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
});

test("field and label selectors narrow a list; an unknown field is an error", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "a", { tier: "web" }));
  await api.client.create(configMaps, configMap(api.namespace, "b", { tier: "db" }));
  const names = async (options: object) =>
    (await api.client.list(configMaps, api.namespace, options)).items.map(({ metadata }) => metadata.name);
  expect(await names({ labelSelector: "tier in (web)" })).toEqual(["a"]);
  expect(await names({ labelSelector: "tier!=web" })).toEqual(["b"]);
  expect(await names({ fieldSelector: "metadata.name=b" })).toEqual(["b"]);
  expect(
    (await refusal(api.client.list(configMaps, api.namespace, { fieldSelector: "data.a=b" }))).code,
  ).toBe(400);
});

test("a question has no table: who takes nothing else is refused", async () => {
  const ask = (accept: string) =>
    api.server.transport().request({
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      headers: { "content-type": "application/json", accept },
      body: JSON.stringify({
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: { verb: "get", resource: "pods" } },
      }),
    });
  const table = "application/json;as=Table;v=v1;g=meta.k8s.io";
  expect((await ask(table)).status).toBe(406);
  expect((await ask(`${table},application/json`)).status).toBe(201);
});
