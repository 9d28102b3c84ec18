import { exitCodes } from "@kws/base/errors";
import { readLogs } from "@kws/platform/services/logs";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { createStyle, printable, wantsColor } from "../../style.ts";

export const command = defineCommand({
  summary: "the logs of services, merged by time",
  description:
    "The logs of one or many services, merged by time. With -o json, one object a line: time, service, pod, container, text.",
  args: [
    { name: "services", description: "all of the stack unless given", variadic: true, completes: "services" },
  ],
  options: {
    stack: stackOption,
    follow: { type: "boolean", short: "F", description: "go on with what comes" },
    since: { type: "duration", value: "duration", description: "only what is younger, such as 10m" },
    tail: { type: "number", value: "lines", description: "only the last lines of each container" },
    previous: { type: "boolean", description: "of the containers before the last restart" },
    container: { type: "string", short: "c", value: "name", description: "only this container" },
  },
  examples: [
    "kws service logs orders",
    "kws service logs orders payments --follow --since 10m",
    "kws service logs orders --previous",
  ],
  async run({ args, options }, ctx) {
    const { connection, releases } = await choose(ctx, args, options.stack);
    const json = ctx.globals.output === "json";
    const style = createStyle(wantsColor(ctx.env, ctx.stdout.isTTY === true, ctx.globals["no-color"]));
    const names = releases.map((release) => release.service);
    const width = Math.max(...names.map((name) => name.length));
    const lines = readLogs(connection, releases, {
      signal: ctx.signal,
      follow: options.follow ?? false,
      previous: options.previous ?? false,
      ...(options.since === undefined ? {} : { sinceMs: options.since }),
      ...(options.tail === undefined ? {} : { tail: options.tail }),
      ...(options.container === undefined ? {} : { container: options.container }),
    });
    for await (const line of lines) {
      if (json) ctx.stdout.write(`${JSON.stringify(line)}\n`);
      else {
        const prefix =
          names.length > 1
            ? `${style.palette(names.indexOf(line.service), line.service.padEnd(width))} `
            : "";
        ctx.stdout.write(`${prefix}${style.enabled ? line.text : printable(line.text)}\n`);
      }
    }
    // Ctrl-C is how following ends.
    return ctx.signal.aborted ? { exitCode: exitCodes.interrupted } : {};
  },
});
