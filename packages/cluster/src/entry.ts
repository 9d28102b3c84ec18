/** Where the programs are that this package starts as processes of their own: beside this file, in source and in a bundle. */
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** The agent's entry file. A bundle must hold it as `agent.js` in the same folder as the chunk with this code. */
export function agentEntryPath(): string {
  return fileURLToPath(new URL(`./agent${extname(import.meta.url)}`, import.meta.url));
}
