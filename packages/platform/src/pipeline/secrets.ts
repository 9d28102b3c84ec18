/** The values of a pipeline's secrets, from files that are encrypted in the service's repository. They are in memory alone. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import type { Decrypt } from "../charts/layers.ts";
import { parseKeyPath } from "../project/key-path.ts";
import { inside, type ProjectService } from "../project/workspace.ts";
import type { Plan } from "./plan.ts";

/**
 * All that steps of the plan ask for. `given` are those that come from elsewhere, such as a server's; they go before those of files.
 * Throws for one that is nowhere.
 */
export async function openSecrets(
  { pipeline, jobs }: Plan,
  service: ProjectService,
  { decrypt, given = {} }: { decrypt: Decrypt; given?: Record<string, string> },
): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const job of jobs) {
    if (job.skip !== undefined) continue;
    for (const name of job.config.secrets ?? []) {
      if (name in values) continue;
      const from = pipeline.secrets?.[name];
      const handed = given[name];
      if (handed !== undefined) values[name] = handed;
      else if (from !== undefined) values[name] = await readValue(service, name, from, decrypt);
      else {
        throw new UserError(`there is no secret ${name} for the step ${job.title}`, {
          code: "config",
          at: job.at,
          fix: "Say under `secrets` of the pipeline which encrypted file has it.",
        });
      }
    }
  }
  return values;
}

async function readValue(
  service: ProjectService,
  name: string,
  { file, key }: { file: string; key: string },
  decrypt: Decrypt,
): Promise<string> {
  const at = service.file.at(["pipeline", "secrets", name]);
  const path = await inside(service.root, resolve(service.dir, file), at);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (!isErrno(error, "ENOENT")) throw error;
    throw new UserError(`the secret ${name} is in ${file}, which does not exist`, {
      code: "config",
      at,
      fix: "Correct the path, or make the file with `kws secrets encrypt`.",
    });
  });
  let value: unknown = await decrypt(path, text);
  for (const part of parseKeyPath(key))
    value = (value as Record<string | number, unknown> | undefined)?.[part];
  if (typeof value === "string") return value;
  throw new UserError(`${file} has no text under ${key}`, { code: "config", at, fix: "Correct the `key`." });
}
