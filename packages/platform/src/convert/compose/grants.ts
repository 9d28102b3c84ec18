/** The configs and secrets that a service is granted: files at their targets. */
import { toName } from "../../project/workspace.ts";
import { carry, look } from "./files.ts";
import { hiddenIn, reveal } from "./hidden.ts";
import { addMount, addVolume, filesVolume, externalName, secretFilesVolume, type State } from "./mounts.ts";
import type { ComposeProject } from "./project.ts";
import { get, items, number, text, type Tree } from "./tree.ts";

export async function granted(state: State, kind: "configs" | "secrets"): Promise<void> {
  const { project, service, result } = state;
  for (const grant of items(get(service.tree, kind))) {
    const source = text(get(grant, "source")) ?? "";
    const declared = get(project.model.tree, kind, source);
    const given = text(get(grant, "target"));
    const fallback = kind === "configs" ? `/${source}` : `/run/secrets/${source}`;
    const mountPath =
      given === undefined
        ? fallback
        : given.startsWith("/")
          ? given
          : kind === "configs"
            ? `/${given}`
            : `/run/secrets/${given}`;
    const modePlace = get(grant, "mode");
    const mode = modeOf(modePlace);
    if (mode !== undefined && (mode & 0o111) !== 0) result.files.executable = true;
    if (modePlace !== undefined && mode !== undefined && (mode & 0o004) === 0)
      project.report("note", modePlace, "every user of the container may read the file");
    if (declared === undefined) {
      project.report(
        "error",
        grant,
        `there is no ${kind === "configs" ? "config" : "secret"} "${source}"`,
        `Add it under ${kind}.`,
      );
      continue;
    }
    const external = externalName(declared, source);
    if (external !== undefined) {
      const object = toName(external);
      const spec = kind === "configs" ? { configMap: { name: object } } : { secret: { secretName: object } };
      project.report(
        "warning",
        grant,
        `the ${kind === "configs" ? "ConfigMap" : "Secret"} ${object} with the key ${source} has to exist in the namespace`,
        `Make it: kubectl create ${kind === "configs" ? "configmap" : "secret generic"} ${object} --from-file=${source}=FILE`,
      );
      addMount(state, grant, { volume: addVolume(state, source, spec), mountPath, subPath: source }, true);
      continue;
    }
    const content = await contentOf(project, declared);
    if (content === undefined) continue;
    const isSecret = kind === "secrets" || hiddenIn(text(get(declared, "content")) ?? "").length > 0;
    const key = carry(result.files, source, content, isSecret ? declared : undefined);
    if (key === undefined) {
      project.report(
        "error",
        grant,
        `${source} is left out: the files of a pod may have less than a megabyte together`,
      );
      continue;
    }
    const volume = isSecret ? secretFilesVolume : filesVolume;
    addMount(state, grant, { volume, mountPath, subPath: key }, true);
  }
}

async function contentOf({ model, report }: ComposeProject, declared: Tree): Promise<Uint8Array | undefined> {
  const inline = get(declared, "content");
  const variable = text(get(declared, "environment"));
  const file = text(get(declared, "file"));
  if (inline !== undefined) return Buffer.from(reveal(text(inline) ?? "", model.variables));
  if (variable !== undefined) {
    const value = model.variables(variable);
    if (value === undefined)
      report(
        "error",
        declared,
        `the variable ${variable} is not set, and what it holds is missing`,
        "Set it and convert again.",
      );
    return value === undefined ? undefined : Buffer.from(value);
  }
  const found = file === undefined ? undefined : await look(file);
  if (found?.kind === "file") return found.content;
  report(
    "error",
    declared,
    `${file ?? "it"} cannot be read, and what it holds is missing`,
    "Make the file and convert again.",
  );
  return undefined;
}

/** `0440`, `"0440"` and `0o440` are octal; YAML 1.2 reads the first as a decimal number. */
function modeOf(tree: Tree | undefined): number | undefined {
  const given = text(tree);
  if (given === undefined) return undefined;
  const digits = given.replace(/^0o/, "");
  return /^[0-7]{3,4}$/.test(digits) ? Number.parseInt(digits, 8) : number(tree);
}
