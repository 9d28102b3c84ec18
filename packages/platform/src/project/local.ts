/**
 * kws.local.yaml: what one person sets differently in a workspace, beside the kws.yaml that all share. Above all links: folders
 * that services are taken from while somebody works on them.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { parseDocument } from "yaml";
import { Local } from "./schema.ts";
import { validate } from "./validate.ts";
import { parseYaml, readYamlFile, type YamlFile } from "./yaml-file.ts";

export const localFileName = "kws.local.yaml";

export interface LocalSettings {
  file: YamlFile;
  settings: Local;
}

/** Nothing is set where there is no file. */
export async function readLocal(root: string): Promise<LocalSettings> {
  const path = join(root, localFileName);
  const file = existsSync(path) ? await readYamlFile(path) : parseYaml(path, "");
  return { file, settings: file.value === null ? {} : validate(file, Local, localFileName) };
}

/** Writes links, or removes them where they are undefined; comments and the rest of the file stay. */
export async function writeLinks(
  { file: { path } }: LocalSettings,
  links: Record<string, string | undefined>,
): Promise<void> {
  const document = parseDocument(existsSync(path) ? await readFile(path, "utf8") : "");
  for (const [name, folder] of Object.entries(links)) {
    if (folder === undefined) document.deleteIn(["links", name]);
    else document.setIn(["links", name], folder);
  }
  await replaceFile(path, String(document));
}
