/** The server's log: a JSON object a line on standard error, without secrets. */
import type { Logger, LogLevel } from "@kws/base/logger";
import { destination, pino } from "pino";

/** Values under these names are never written, wherever they stand. */
const secretNames = ["token", "authorization", "password", "secret", "cookie", "databaseUrl"];

export function createServerLogger(level: LogLevel): Logger {
  const logger = pino(
    {
      level,
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretNames.flatMap((name) => [name, `*.${name}`]), censor: "[secret]" },
    },
    // At once: the last line before a crash is the one that is wanted.
    destination({ fd: 2, sync: true }),
  );
  return wrap(logger);
}

function wrap(logger: pino.Logger): Logger {
  return {
    debug: (message, fields = {}) => logger.debug(clean(fields), message),
    info: (message, fields = {}) => logger.info(clean(fields), message),
    warn: (message, fields = {}) => logger.warn(clean(fields), message),
    error: (message, fields = {}) => logger.error(clean(fields), message),
    child: (fields) => wrap(logger.child(fields)),
  };
}

/** Passwords in addresses, too. */
function clean(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]: [string, unknown]) => [
      key,
      typeof value === "string" ? value.replaceAll(/:\/\/[^/@\s]+@/g, "://") : value,
    ]),
  );
}
