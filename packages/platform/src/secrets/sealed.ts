/** Whether a file that says that it is encrypted is so in all that its rule selects. No key is needed. */
import { type Cipher, isSealed } from "@kws/sops/cipher";
import { decryptDocuments } from "@kws/sops/crypt";
import { SopsError } from "@kws/sops/errors";
import type { Metadata } from "@kws/sops/metadata";
import { formatPlace } from "@kws/sops/place";
import { itemsOf, type MapNode, str, type TreeNode } from "@kws/sops/tree";
import { keyPath } from "../project/key-path.ts";

/** Throws sops' `errorDecryptingTree`, with the place, for a value or comment in the clear; sops itself takes such comments. */
export function refuseUnsealed(documents: readonly MapNode[], metadata: Metadata, file: string): void {
  const [comment] = decryptDocuments(documents, metadata, sealedOnly, file).clearComments;
  if (comment === undefined) return;
  const where = comment.keys.length === 0 ? "" : ` of ${keyPath([...comment.keys])}`;
  throw new SopsError("errorDecryptingTree", `a comment${where} is in the clear`, {
    at: formatPlace(file, comment.at),
    fix: "Encrypt the file anew with `kws secrets rotate --in-place`; if it was committed like this, replace what the comment tells.",
  });
}

/** Whether a path is that of secrets in a chart's profile, which are encrypted whatever the rules say. */
export function isProfileSecrets(path: string): boolean {
  return /(^|\/)profiles\/(.+\/)?secrets\.[^/]+$/.test(path);
}

/** Whether there are values and not one of them is encrypted. */
export function nothingSealed(documents: readonly MapNode[]): boolean {
  const values = documents.flatMap(textsOf).filter((text) => text !== "");
  return values.length > 0 && !values.some(isSealed);
}

/** The scalars below a node but null, as text. */
function textsOf(node: TreeNode): string[] {
  if (node.kind === "list") return itemsOf(node).flatMap(textsOf);
  if (node.kind === "null") return [];
  if (node.kind !== "map") return [String(node.value)];
  return node.entries.flatMap((entry) => (entry.kind === "entry" ? textsOf(entry.value) : []));
}

/** Stands in for the data key: opens nothing, and refuses what was never sealed. */
const sealedOnly: Cipher = {
  open(text) {
    if (text !== "" && !isSealed(text)) throw new Error("it is in the clear");
    return str("");
  },
  seal() {
    throw new Error("nothing is sealed here");
  },
};
