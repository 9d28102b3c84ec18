/** docs/reference/analyze.md: what each check of `kws analyze` tries, from the checks themselves. */
import { checks } from "../../packages/platform/src/analysis/checks.ts";
import { families } from "../../packages/platform/src/analysis/finding.ts";
import { table } from "./markdown.ts";

export function analyzeReference(): string {
  const sections = families.flatMap((family) => [
    `## ${family}`,
    table(
      ["id", "what is tried or looked at"],
      checks.filter((check) => check.family === family).map(({ id, about }) => [`\`${id}\``, about]),
    ),
  ]);
  return `${[
    "# kws analyze",
    "<!-- Made by `npm run reference` from packages/platform/src/analysis; edits are lost. -->",
    "The checks of [`kws analyze`](../guide/analyze.md) by family. `--only` and `--skip` take ids and families; ids stay what they are.",
    ...sections,
  ].join("\n\n")}\n`;
}
