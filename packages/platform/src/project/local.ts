/**
 * kws.local.yaml: what one person sets differently in a workspace, beside the kws.yaml that all share. Above all links: folders
 * that services are taken from while somebody works on them.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
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
