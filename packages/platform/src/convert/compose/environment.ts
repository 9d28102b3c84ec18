/** A service's environment variables: plain ones, and those that are to be encrypted. */
import { existsSync } from "node:fs";
import { readLimited } from "../../project/yaml-file.ts";
import { parseEnvFile } from "./env-file.ts";
import { hiddenIn, reveal } from "./hidden.ts";
import { isSensitive } from "./sensitive.ts";
import { type ComposeProject, type ComposeService, withNewNames } from "./project.ts";
import { entries, flag, get, items, text, type Tree } from "./tree.ts";

export interface Environment {
  config: Map<string, string>;
  /** With the place that each comes from. */
  secrets: Map<string, { value: string; place: Tree }>;
}

export async function environmentOf(project: ComposeProject, { tree }: ComposeService): Promise<Environment> {
  const { model, report } = project;
  const values = new Map<string, { value: string; place: Tree; isSecret?: boolean }>();
  for (const file of items(get(tree, "env_file"))) {
    const path = text(get(file, "path")) ?? "";
    if (!existsSync(path)) {
      if (flag(get(file, "required")) === false) continue;
      report(
        "error",
        file,
        `${path} does not exist: its variables are missing`,
        "Make the file, perhaps from an example beside it, and convert again.",
      );
      continue;
    }
    const raw = text(get(file, "format")) === "raw";
    const read = parseEnvFile(await readLimited(path), model.variables, raw);
    for (const { name, kind } of read.problems) {
      if (kind !== "syntax")
        report("warning", file, `the variable ${name}, which ${path} uses, is not set, and counts as empty`);
    }
    for (const [name, value] of read.values) {
      const known = value ?? model.variables(name);
      if (known !== undefined) values.set(name, { value: known, place: file });
    }
  }
  for (const [name, place] of entries(get(tree, "environment"))) {
    const value = text(place) ?? model.variables(name);
    if (value === undefined) {
      if (!values.has(name)) {
        report(
          "warning",
          place,
          `${name} is passed through from the environment, where it is not set, and is left out`,
          "Set it and convert again, or add it to the values of the chart.",
        );
      }
      continue;
    }
    const isSecret = hiddenIn(value).length > 0;
    values.set(name, { value: reveal(value, model.variables), place, isSecret });
  }
  for (const word of [
    get(tree, "command"),
    get(tree, "entrypoint"),
    get(tree, "healthcheck", "test"),
  ].flatMap(items)) {
    for (const name of hiddenIn(text(word) ?? "")) {
      if (!values.has(name)) values.set(name, { value: model.variables(name) ?? "", place: word });
    }
  }
  const result: Environment = { config: new Map(), secrets: new Map() };
  for (const [name, { value, place, isSecret = false }] of values) {
    if (!/^[-._a-zA-Z0-9]+$/.test(name)) {
      report("error", place, `${JSON.stringify(name)} cannot be the name of a variable, and is left out`);
      continue;
    }
    const renamed = withNewNames(project, value, isHost(name));
    if (renamed !== value)
      report("note", place, `${name} addresses services by the names that they have now`);
    if (isSecret || isSensitive(name, value)) result.secrets.set(name, { value: renamed, place });
    else result.config.set(name, renamed);
  }
  return result;
}

function isHost(name: string): boolean {
  return /(HOST|SERVER|ADDR|ADDRESS|URL|URI|DSN|ENDPOINT|BROKER|UPSTREAM|NODE|LINK)S?$/i.test(name);
}
