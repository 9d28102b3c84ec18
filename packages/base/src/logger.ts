/** Lines for the people who look after a long-running process: one JSON object a line, with time, level and fields. */

const levels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof levels)[number];

export interface Logger {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
  /** A logger that adds the fields to every line. */
  child(fields: object): Logger;
}

export function createLogger(
  write: (line: string) => void,
  level: LogLevel = "info",
  base: object = {},
): Logger {
  const log = (at: LogLevel) => (message: string, fields?: object) => {
    if (levels.indexOf(at) < levels.indexOf(level)) return;
    const time = new Date().toISOString();
    write(`${JSON.stringify({ time, level: at, message, ...base, ...fields })}\n`);
  };
  return {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
    child: (fields) => createLogger(write, level, { ...base, ...fields }),
  };
}

/** For callers that have nothing to say. */
export const silent: Logger = createLogger(() => {}, "error");
