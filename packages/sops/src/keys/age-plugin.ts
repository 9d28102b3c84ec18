/** Recipients and identities of age plugins, through the `age` program, which talks to `age-plugin-NAME` and to the user. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import type { KeyWorld } from "./key.ts";

/** The name of the plugin that a recipient is for: the recipients built into age have names of their own. */
export function pluginOf(recipient: string): string | undefined {
  const name = /^age1([a-z0-9._+-]+)1[a-z0-9]+$/.exec(recipient)?.[1];
  return name === "pq" || name === "tag" || name === "tagpq" ? undefined : name;
}

/** An armored file for the recipient. */
export async function encryptWithPlugin(
  world: KeyWorld,
  recipient: string,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<string> {
  const args = ["--encrypt", "--armor", "--recipient", recipient];
  return await runAge(world, args, data, signal);
}

export async function decryptWithPlugins(
  world: KeyWorld,
  identities: readonly string[],
  file: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  // Identities go through standard input, where nobody sees them; the file, which is no secret, has to be on disk then.
  await using dir = await tempDir("kws-age");
  const path = join(dir.path, "key.age");
  await writeFile(path, file);
  const data = await runAge(world, ["--decrypt", "--identity", "-", path], identities.join("\n"), signal);
  return Uint8Array.from(Buffer.from(data, "latin1"));
}

async function runAge(
  { env, cwd }: KeyWorld,
  args: readonly string[],
  input: string | Uint8Array,
  signal: AbortSignal | undefined,
): Promise<string> {
  const result = await exec("age", args, { env, cwd, input, signal, encoding: "latin1" });
  if (result.exitCode !== 0) throw new UserError(`age failed: ${lastLines(result.stderr, 3)}`);
  return result.stdout;
}
