/** The user's own age identities, where sops and kws look for them. */
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import { configFolder, newIdentity, recipientsIn } from "@kws/sops/keys/age-identities";
import type { KeyWorld } from "@kws/sops/keys/key";

export interface NewIdentity {
  /** The file that it was added to. */
  path: string;
  /** For `.sops.yaml`: whoever has it can encrypt. */
  recipient: string;
}

/** Makes an identity and adds it to the user's own, in a file that only the user can read. */
export async function addIdentity(world: KeyWorld): Promise<NewIdentity> {
  const folder = configFolder(world.env, world.home, process.platform);
  if (folder === undefined) {
    throw new UserError("there is no folder for settings to keep the identity in", {
      code: "config",
      fix: "Set XDG_CONFIG_HOME to an absolute path, or unset it.",
    });
  }
  const path = join(folder, "sops", "age", "keys.txt");
  const { identity, recipient } = await newIdentity();
  const before = await textOf(path);
  const gap = before === "" || before.endsWith("\n") ? "" : "\n";
  const created = new Date(world.clock()).toISOString();
  const text = `${before}${gap}# created: ${created}\n# public key: ${recipient}\n${identity}\n`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, text, { mode: 0o600 });
  return { path, recipient };
}

/** Whom to encrypt for where nothing says it: the first identity of the user's own; undefined where there is none. */
export async function ownRecipient({ env, home }: KeyWorld): Promise<string | undefined> {
  const folder = configFolder(env, home, process.platform);
  const path =
    env.SOPS_AGE_KEY_FILE ?? (folder === undefined ? undefined : join(folder, "sops", "age", "keys.txt"));
  const text = env.SOPS_AGE_KEY ?? (path === undefined ? "" : await textOf(path));
  const [first] = await recipientsIn(text);
  return first;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}
