/** Links: folders that somebody has services taken from, written into kws.local.yaml. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError } from "@kws/base/errors";
import { parseDocument } from "yaml";
import { suggest } from "./nearest.ts";
import { entriesOf } from "./sources.ts";
import { fileName, type Project } from "./workspace.ts";
import { readYamlFile } from "./yaml-file.ts";

/**
 * The folder to link a service to: the given one, or where kws.yaml says that the service is in a clone. Throws where neither
 * holds the service's kws.yaml.
 */
export async function linkTarget(project: Project, name: string, dir: string): Promise<string> {
  const entries = entriesOf(project);
  const entry = entries.get(name);
  if (entry === undefined) {
    const isList = Array.isArray(project.workspace.services);
    throw new UserError(`the workspace has no service "${name}" that could be linked`, {
      code: "not-found",
      at: project.file.at(["services"], true),
      fix: isList
        ? "Name the services in a mapping; a list's are folders already."
        : suggest(name, [...entries.keys()], "Add it under services."),
    });
  }
  const inside = "git" in entry && entry.path !== undefined ? [join(dir, entry.path)] : [];
  for (const folder of [dir, ...inside]) {
    const path = join(folder, fileName);
    if (!existsSync(path)) continue;
    const { value } = await readYamlFile(path);
    if (typeof value === "object" && value !== null && "name" in value && value.name === name) return folder;
  }
  throw new UserError(`${dir} does not hold the service "${name}"`, {
    code: "not-found",
    fix: `Name the folder whose ${fileName} says \`name: ${name}\`, or a clone of its repository.`,
  });
}

/** Writes links, or removes them where they are undefined; comments and the rest of the file stay. */
export async function writeLinks(
  { local }: Project,
  links: Record<string, string | undefined>,
): Promise<void> {
  const { path } = local.file;
  const document = parseDocument(existsSync(path) ? await readFile(path, "utf8") : "");
  for (const [name, folder] of Object.entries(links)) {
    if (folder === undefined) document.deleteIn(["links", name]);
    else document.setIn(["links", name], folder);
  }
  await replaceFile(path, String(document));
}
