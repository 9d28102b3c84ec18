import { serverTable } from "../../tables.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "start the server of this machine, or say that it runs",
  description:
    "Starts the server in the background, with a PostgreSQL of its own unless DATABASE_URL is set, on an address of this machine alone. Commands find it and its token by themselves. Data, address and token stay the same from one start to the next.",
  options: {
    foreground: { type: "boolean", description: "run it here, until Ctrl-C, with its log on standard error" },
  },
  examples: ["kws server start", "kws server start --foreground"],
  async run({ options }, ctx) {
    const [{ runForeground, startInBackground }, { serverFolder }] = await Promise.all([
      import("@kws/server/lifecycle"),
      import("@kws/server/state"),
    ]);
    const { childEnv: env, signal, locations } = ctx;
    if (options.foreground === true) return { exitCode: await runForeground({ env, signal }) };
    const folder = serverFolder(locations.data);
    const status = await ctx
      .steps()
      .run({ id: "server", title: "server" }, () => startInBackground({ folder, env, signal }));
    return { data: status, table: serverTable(status, ctx.style, ctx.clock()) };
  },
});
