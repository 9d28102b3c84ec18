import assert from "node:assert/strict";
import { test } from "node:test";

const url = process.env.CATALOG_URL ?? "http://catalog";

test("the products of the migrations can be bought", async () => {
  const response = await fetch(`${url}/products/kettle`);
  assert.equal(response.status, 200);
  const { priceCents } = (await response.json()) as { priceCents: number };
  assert.equal(priceCents, 3900);
});

test("an unknown product is not found", async () => {
  assert.equal((await fetch(`${url}/products/spoon`)).status, 404);
});
