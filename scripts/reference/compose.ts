/** docs/reference/compose.md: what becomes of every key of a Compose file, from the table that the conversion works with. */
import { keyRows, type Support } from "../../packages/platform/src/convert/compose/keys.ts";
import { table } from "./markdown.ts";

const words: Record<Support, string> = { yes: "yes", partly: "partly", no: "no" };

export function composeReference(): string {
  const sections = ["services", "networks", "volumes", "configs", "secrets"];
  const rowsOf = (section: string) =>
    keyRows.filter(([key]) => key === section || key.startsWith(`${section}.`));
  const others = keyRows.filter(([key]) => !sections.includes(key.split(".")[0] ?? ""));
  const count = (support: Support) => keyRows.filter((row) => row[1] === support).length;
  const made = (rows: typeof keyRows): string =>
    table(
      ["key", "carried over", "as"],
      rows.map(([key, support, note]) => [`\`${shown(key)}\``, words[support], note]),
    );
  return `${[
    "# Compose files",
    "<!-- Made by `npm run reference` from packages/platform/src/convert/compose/keys.ts; edits are lost. -->",
    "What `kws convert compose` makes of each key of the [Compose Specification](https://github.com/compose-spec/compose-spec). " +
      `Of ${keyRows.length} keys, ${count("yes")} are carried over, ${count("partly")} partly, and ${count("no")} are left out. What a file loses is reported with its ` +
      "place when it is converted, and so is every key that is not here. Keys that begin with `x-` mean nothing. See [converting](../guide/convert.md).",
    "## The file",
    made(others),
    ...sections.flatMap((section) => [`## ${section}`, made(rowsOf(section))]),
  ].join("\n\n")}\n`;
}

/** `services.*.ports.*.target` → `ports.target`: the names in between are the user's own. */
function shown(key: string): string {
  const [section = "", ...rest] = key.split(".");
  const inner = rest.filter((part) => part !== "*");
  return inner.length === 0 ? section : inner.join(".");
}
