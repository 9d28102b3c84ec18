import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "stop the server of this machine and keep its data",
  description:
    "Stops the server of this machine and keeps its data. Work that runs is finished up to its current step, and goes on with the next start.",
  examples: ["kws server stop"],
  async run(_input, ctx) {
    const [{ serverStatus, stopServer }, { serverFolder }] = await Promise.all([
      import("@kws/server/lifecycle"),
      import("@kws/server/state"),
    ]);
    const folder = serverFolder(ctx.locations.data);
    const stopped = await ctx.steps().run({ id: "stop", title: "stop the server" }, () => stopServer(folder));
    return {
      data: await serverStatus(folder),
      text: stopped ? "The server is stopped; its data is kept." : "The server did not run.",
    };
  },
});
