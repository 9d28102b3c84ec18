/** Whether encrypted files can be opened here and are as they were written. What they say stays in memory. */
import { messageOf } from "@kws/base/errors";
import { SopsError } from "@kws/sops/errors";
import { decrypt } from "@kws/sops/file";
import type { Keyring } from "@kws/sops/keyring";
import type { Sealed, SecretsFinding } from "./survey.ts";

export type MacState = "good" | "broken" | "no key";

/** Decrypts files and verifies their MACs; adds what is wrong to the findings, unless there is one for the same place. */
export async function verifyAll(
  files: readonly Sealed[],
  keyring: Keyring,
  findings: SecretsFinding[],
): Promise<MacState[]> {
  const known = new Set(findings.map(({ at }) => at));
  return forAll(files, async ({ path, format, content }) => {
    try {
      await decrypt(content, { format, file: path, keyring });
      return "good";
    } catch (error) {
      if (!(error instanceof SopsError)) throw error;
      if (error.reason === "couldNotRetrieveKey") {
        findings.push({ kind: "no-key", at: path, message: "no key here opens it: its MAC is not verified" });
        return "no key";
      }
      const at = error.at ?? path;
      if (!known.has(at)) findings.push({ kind: "broken-mac", at, message: messageOf(error) });
      return "broken";
    }
  });
}

/** Whether keys here open files. */
export function opensAll(files: readonly Sealed[], keyring: Keyring): Promise<boolean[]> {
  return forAll(files, async ({ path, metadata }) => {
    try {
      await keyring.dataKey(metadata, path);
      return true;
    } catch (error) {
      if (error instanceof SopsError && error.reason === "couldNotRetrieveKey") return false;
      throw error;
    }
  });
}

/** Each file may cost a call to a key service, or a program that is run. */
const atOnce = 8;

async function forAll<T>(files: readonly Sealed[], look: (file: Sealed) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  const left = files.entries();
  const work = async () => {
    for (const [index, file] of left) results[index] = await look(file);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}
