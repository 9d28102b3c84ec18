import { editors } from "@kws/platform/dev/debug/editors";
import { stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { develop } from "../../development.ts";

export const command = defineCommand({
  summary: "develop services: their source runs in their place",
  description:
    "Replaces services by containers that run their source, with the environment, secrets, volumes and sidecars that they have. " +
    "What changes in their folders is acted upon by the rules in kws.yaml: the process starts again, a command runs, or the image " +
    "is built. With --debug they run under their debuggers. Ctrl-C gives the services back. With -o json, one event a line.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: {
    stack: stackOption,
    plain: {
      type: "boolean",
      description: "lines also where a terminal could show several services at once",
    },
    "take-over": {
      type: "boolean",
      description: "also services that somebody else develops, whose session ends",
    },
    debug: { type: "boolean", description: "run them under their debuggers, with a local port for each" },
    "debug-brk": {
      type: "boolean",
      description: "as --debug, and each start waits at its first line for an editor",
    },
    editor: {
      type: "string",
      value: "name",
      choices: editors,
      description:
        "whose debug configuration is written; the one whose folder is there unless given, else vscode",
    },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for a dev container to start; 5m unless given",
    },
  },
  examples: [
    "kws service up orders",
    "kws service up orders payments --stack shop",
    "kws service up orders --debug",
  ],
  run: ({ args, options }, ctx) => develop(ctx, args, options),
});
