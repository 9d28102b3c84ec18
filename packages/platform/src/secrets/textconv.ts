/** Encrypted files as `git diff` shows them: their keys, and for each value a mark that changes when it does. Needs no key. */
import { createHash } from "node:crypto";
import type { Cipher } from "@kws/sops/cipher";
import { decryptDocuments } from "@kws/sops/crypt";
import { SopsError } from "@kws/sops/errors";
import { keysOf } from "@kws/sops/file";
import { readEncrypted, writePlain } from "@kws/sops/formats";
import { describeKey } from "@kws/sops/keys/key";
import { str } from "@kws/sops/tree";
import type { SecretFile } from "./files.ts";

/** A file that is not encrypted, or damaged, is shown as it is. */
export function describeEncrypted({ path, format, content }: SecretFile): Buffer {
  try {
    const { documents, metadata } = readEncrypted(content, format, path);
    const shown = decryptDocuments(documents, metadata, marking, path).documents;
    const keys = keysOf(metadata).flat().map(describeKey);
    return Buffer.concat([
      writePlain(shown, format, {}),
      Buffer.from(keys.map((key) => `# encrypted for ${key}\n`).join("")),
    ]);
  } catch (error) {
    if (error instanceof SopsError) return content;
    throw error;
  }
}

/** Stands in for the data key. SOPS keeps the ciphertext of values that stay, and so the mark stays too. */
const marking: Cipher = {
  open(text) {
    if (text === "") return str("");
    const mark = `<encrypted ${createHash("sha256").update(text).digest("hex").slice(0, 8)}>`;
    return text.endsWith("type:comment]") ? { kind: "comment", text: ` ${mark}` } : str(mark);
  },
  seal() {
    throw new Error("nothing is sealed here");
  },
};
