/** Entry of the agent process; `entry.ts` says where to find it. Arguments: the cluster's data folder, the socket's path. */
import { createLogger } from "@kws/base/logger";
import { runAgent } from "./kubelet/runtimes/sandbox/agent.ts";
import { closeInheritedDescriptors } from "./kubelet/runtimes/sandbox/inherited.ts";

const [dataDir, socketPath] = process.argv.slice(2);
if (!dataDir || !socketPath) throw new Error("usage: agent <data folder> <socket>");
closeInheritedDescriptors();
const logger = createLogger((line) => process.stderr.write(line));
process.on("uncaughtException", (error) =>
  logger.error("uncaught exception", { error: error.stack ?? error.message }),
);
process.on("unhandledRejection", (error) => logger.error("unhandled rejection", { error: String(error) }));
await runAgent({ dataDir, socketPath, logger });
