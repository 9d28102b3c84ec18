/** Bitbucket tells statuses apart by a short key. */
import { createHash } from "node:crypto";

/** The name itself where it is short enough; else what stays different for different names. */
export function statusKey(context: string, length: number): string {
  if (context.length <= length) return context;
  return createHash("sha256").update(context).digest("hex").slice(0, 40);
}
