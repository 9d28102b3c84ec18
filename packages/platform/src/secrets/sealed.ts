/** Whether a file that says that it is encrypted is so in all that its rule selects. No key is needed. */
import { type Cipher, isSealed } from "@kws/sops/cipher";
import { decryptDocuments } from "@kws/sops/crypt";
import type { Metadata } from "@kws/sops/metadata";
import { type MapNode, str } from "@kws/sops/tree";

/** Throws sops' `errorDecryptingTree`, with the place, for a value in the clear. */
export function refuseUnsealed(documents: readonly MapNode[], metadata: Metadata, file: string): void {
  decryptDocuments(documents, metadata, sealedOnly, file);
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
