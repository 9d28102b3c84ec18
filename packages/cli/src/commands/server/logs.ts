import { isErrno } from "@kws/base/errors";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "the log of the server of this machine",
  options: {
    tail: {
      type: "number",
      value: "lines",
      min: 0,
      description: "how many of the last lines; 100 unless given",
    },
  },
  examples: ["kws server logs", "kws server logs --tail 20"],
  async run({ options: { tail = 100 } }, { locations }) {
    const [{ logFile, serverFolder }, { readFile }] = await Promise.all([
      import("@kws/server/state"),
      import("node:fs/promises"),
    ]);
    const text = await readFile(logFile(serverFolder(locations.data)), "utf8").catch((error: unknown) => {
      if (isErrno(error, "ENOENT")) return "";
      throw error;
    });
    const lines = text.trimEnd().split("\n");
    const last = tail === 0 ? [] : lines.slice(-tail);
    return { data: last, text: last.join("\n") };
  },
});
