/**
 * Where the programs of the cluster's own processes are: beside this file, as source in the repository and as a bundle
 * where the command line was built.
 */
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

const extension = extname(new URL(import.meta.url).pathname);

export const daemonEntry = fileURLToPath(new URL(`./daemon${extension}`, import.meta.url));
export const agentEntry = fileURLToPath(new URL(`./agent${extension}`, import.meta.url));
