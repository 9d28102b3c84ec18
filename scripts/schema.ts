/** Writes docs/reference/kws.schema.json from the definitions that kws itself validates with. */
import { writeFile } from "node:fs/promises";
import { jsonSchema } from "../packages/platform/src/project/schema.ts";

const target = new URL("../docs/reference/kws.schema.json", import.meta.url);
await writeFile(target, `${JSON.stringify(jsonSchema(), undefined, 2)}\n`);
