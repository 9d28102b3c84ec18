/** Entry of the helper in a Docker Engine; `entry.ts` says where to find it. Arguments: the port, the file with the token. */
import { readFileSync } from "node:fs";
import { createLogger } from "@kws/base/logger";
import { runHelper } from "./kubelet/runtimes/docker/helper.ts";

const [port, tokenFile] = process.argv.slice(2);
if (!port || !tokenFile) throw new Error("usage: helper <port> <file with the token>");
const logger = createLogger((line) => process.stderr.write(line));
process.on("uncaughtException", (error) =>
  logger.error("uncaught exception", { error: error.stack ?? error.message }),
);
process.on("unhandledRejection", (error) => logger.error("unhandled rejection", { error: String(error) }));
process.on("SIGTERM", () => process.exit(0));
await runHelper({ port: Number(port), token: readFileSync(tokenFile, "utf8"), logger });
