/**
 * Where the programs of the cluster's own processes are: beside this file, as source in the repository and as a bundle
 * where the command line was built. A bundle must keep them in one folder with the chunk that holds this code.
 */
import { dirname, extname, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const extension = extname(new URL(import.meta.url).pathname);

export const daemonEntry = fileURLToPath(new URL(`./daemon${extension}`, import.meta.url));
export const agentEntry = fileURLToPath(new URL(`./agent${extension}`, import.meta.url));

const helperEntry = fileURLToPath(new URL(`./helper${extension}`, import.meta.url));
const source = extension === ".ts";
/** The folder that holds all that the helper imports: as source the whole repository. */
export const helperFolder = resolve(dirname(helperEntry), source ? "../../.." : ".");
/** The helper's program in that folder, with slashes. */
export const helperProgram = relative(helperFolder, helperEntry).split(sep).join("/");
