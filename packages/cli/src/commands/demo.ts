import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "@kws/base/errors";
import { findStack, loadProject } from "@kws/platform/project/workspace";
import { removeUnusedImages } from "@kws/platform/providers/embedded";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { start } from "../starting.ts";
import { serviceTable } from "../tables.ts";

export const command = defineCommand({
  summary: "start a shop of real services on this machine, from nothing",
  description:
    "Starts the embedded cluster, builds the images of examples/shop, installs the stack `shop`, and prints where each service answers.",
  options: {
    clean: { type: "boolean", description: "remove all of it, the cluster included" },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for one service to become ready; 5m unless given",
    },
  },
  examples: ["kws demo", "kws demo --clean"],
  async run({ options }, ctx) {
    if (options.clean === true) return clean(ctx);
    const project = await loadProject(findExample());
    const stack = findStack(project, "shop");
    const started = await start(ctx, {
      project,
      stack,
      provider: await embedded(ctx),
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
    });
    const table = serviceTable(started.services, ctx.style, ctx.clock());
    return { data: { stack: stack.name, ...started }, table, text: howToGoOn(started.services, ctx.env) };
  },
});

/** Up from this file, in the repository as in the bundle. */
function findExample(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); dirname(dir) !== dir; dir = dirname(dir)) {
    const path = join(dir, "examples", "shop", "kws.yaml");
    if (existsSync(path)) return path;
  }
  throw new UserError("examples/shop is not beside this kws", {
    code: "not-found",
    fix: "Run the demo from a clone of the repository.",
  });
}

async function embedded(ctx: Context): Promise<import("@kws/platform/providers/provider").Provider> {
  const { defaultClusterName, embeddedProvider } = await import("@kws/platform/providers/embedded");
  return embeddedProvider({
    name: ctx.globals.cluster ?? defaultClusterName,
    home: ctx.locations.data,
    env: ctx.env,
  });
}

async function clean(ctx: Context): Promise<{ data: object; text: string }> {
  const provider = await embedded(ctx);
  const { name } = await provider.status();
  const home = ctx.locations.data;
  const removed = await ctx.steps().run({ id: "clean", title: `remove the cluster ${name}` }, async () => {
    const existed = await provider.reset({ foreign: false });
    await removeUnusedImages(home);
    return existed;
  });
  return { data: { cluster: name, removed }, text: removed ? "The demo is gone." : "There was no demo." };
}

function howToGoOn(services: { service: string; address: string }[], env: NodeJS.ProcessEnv): string {
  const page = services.find((one) => one.service === "gateway")?.address ?? "";
  // npm tells what it runs; whoever came through npx has no kws on the PATH.
  const kws = env["npm_command"] === "exec" ? "npx kws" : "kws";
  const hints = [
    ["open gateway", "the shop in the browser"],
    ["service logs orders payments -s shop", "what they say"],
    ["stack status shop", "how they are"],
    ["stack remove shop", "remove the stack"],
    ["demo --clean", "remove all of it"],
  ];
  const width = Math.max(...hints.map(([words = ""]) => words.length));
  const lines = hints.map(([words = "", meaning = ""]) => `  ${kws} ${words.padEnd(width)}  ${meaning}`);
  return ["", `The shop: ${page}`, "", "Go on with:", ...lines].join("\n");
}
