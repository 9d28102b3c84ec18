/** Writes docs/reference from the definitions that kws itself works with. `npm run reference` */
import { writeFile } from "node:fs/promises";
import { jsonSchema } from "../packages/platform/src/project/schema.ts";
import { analyzeReference } from "./reference/analyze.ts";
import { apiReference } from "./reference/api.ts";
import { cliReference } from "./reference/cli.ts";
import { composeReference } from "./reference/compose.ts";

const folder = new URL("../docs/reference/", import.meta.url);
await writeFile(new URL("kws.schema.json", folder), `${JSON.stringify(jsonSchema(), undefined, 2)}\n`);
await writeFile(new URL("analyze.md", folder), analyzeReference());
await writeFile(new URL("cli.md", folder), await cliReference());
await writeFile(new URL("compose.md", folder), composeReference());
await writeFile(new URL("api.md", folder), apiReference());
