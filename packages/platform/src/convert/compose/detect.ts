/** The Compose files of a folder, by the names that Compose looks for and in its order. */
import { existsSync } from "node:fs";
import { join } from "node:path";

const names = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/** The file and the one that overrides it; none where there is no Compose file. */
export function composeFiles(folder: string): string[] {
  const main = names.find((name) => existsSync(join(folder, name)));
  if (main === undefined) return [];
  const override = names
    .map((name) => name.replace(/\.ya?ml$/, (ending) => `.override${ending}`))
    .find((name) => existsSync(join(folder, name)));
  return [main, override].filter((name) => name !== undefined).map((name) => join(folder, name));
}
