/** Whether encrypted files are in order, for pipelines and for git's hook before a commit. Says nothing of what they hold. */
import { stat } from "node:fs/promises";
import type { Keyring } from "@kws/sops/keyring";
import { openRepository } from "../project/repository.ts";
import { existing, findFiles } from "./find-files.ts";
import { openIndex } from "./staged.ts";
import { byName, disk, type SecretsFinding, survey, type SurveyOptions } from "./survey.ts";
import { type MacState, verifyAll } from "./verify.ts";

export interface SecretsCheck {
  files: { file: string; mac: MacState }[];
  findings: SecretsFinding[];
}

export interface CheckOptions {
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  keyring: Keyring;
}

/** Checks files, which have to be encrypted, and in folders what is encrypted or has to be. Paths are absolute. */
export async function checkPaths(paths: readonly string[], options: CheckOptions): Promise<SecretsCheck> {
  const files = new Set<string>();
  const named = new Set<string>();
  for (const given of paths) {
    const path = await existing(given);
    if ((await stat(path)).isDirectory()) {
      for (const file of (await findFiles(path, options)).files) files.add(file);
    } else {
      files.add(path);
      named.add(path);
    }
  }
  return check([...files], { source: disk, named }, options);
}

/** Checks what the repository of a folder is about to commit. */
export async function checkStaged(folder: string, options: CheckOptions): Promise<SecretsCheck> {
  // A hook of `git commit FILE` is told of an index that holds that file alone.
  const index = options.env["GIT_INDEX_FILE"];
  const repository = await openRepository(folder, { ...options, ...(index === undefined ? {} : { index }) });
  const { files, source } = await openIndex(repository);
  return check(files, { source }, options);
}

async function check(
  files: readonly string[],
  where: Pick<SurveyOptions, "source" | "named">,
  { signal, keyring }: CheckOptions,
): Promise<SecretsCheck> {
  const { sealed, findings } = await survey(files, { ...where, signal });
  const states = await verifyAll(sealed, keyring, findings);
  const checked = sealed.map(({ path }, index) => ({ file: path, mac: states[index]! }));
  return {
    files: checked.sort((a, b) => byName(a.file, b.file)),
    findings: findings.sort((a, b) => byName(a.at, b.at)),
  };
}
