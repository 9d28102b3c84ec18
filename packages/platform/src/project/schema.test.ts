import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { jsonSchema } from "./schema.ts";

test("the published JSON Schema is current: run `npm run reference` where it is not", async () => {
  const published = await readFile(
    new URL("../../../../docs/reference/kws.schema.json", import.meta.url),
    "utf8",
  );
  expect(JSON.parse(published)).toEqual(JSON.parse(JSON.stringify(jsonSchema())));
});
