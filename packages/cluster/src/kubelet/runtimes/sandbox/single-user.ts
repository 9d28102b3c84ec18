/**
 * Where the cluster is an ordinary user's, one user is mapped into a container: a program that begins as root and then becomes
 * somebody else, as those of many images do, is refused by the kernel. Its own words for that tell nobody what to do.
 */
import { statSync, writeFileSync } from "node:fs";

/** What `gosu`, `su`, `setpriv` and servers that give their privileges up say; `EINVAL` is for a user who is not mapped. */
const refusal =
  /(set(res|re|e|f|fs)?[ug]ids?\b|(set|init)groups|(set|change|drop) (groups|user|group|privileges)|switching to)\b.*(operation not permitted|invalid argument|EPERM|EINVAL)/i;

/** How much of a container's output is looked at. */
const lastBytes = 4096;

const advice =
  "root may not become another user in this container: an ordinary user of the machine runs the cluster, and has one user to give; " +
  "set the number of the wanted user as runAsUser in the pod's securityContext";

/** Keeps the end of a container's output, to explain why it ended. */
export class LastWords {
  #text = "";

  hear(chunk: Buffer): void {
    this.#text = (this.#text + chunk.subarray(-lastBytes).toString("latin1")).slice(-lastBytes);
  }

  /** Undefined where it was not for want of another user. */
  explanation(): string | undefined {
    return refusal.test(this.#text) ? advice : undefined;
  }
}

/** Becomes the container's termination message, unless it has left one itself. */
export function explain(words: LastWords, terminationMessagePath: string): void {
  const text = words.explanation();
  // The file is gone where the pod is.
  if (text === undefined || statSync(terminationMessagePath, { throwIfNoEntry: false })?.size !== 0) return;
  writeFileSync(terminationMessagePath, text);
}
