import { UserError } from "@kws/base/errors";
import { exec } from "@kws/base/exec";
import { openerFor } from "../browser.ts";
import { choose, stackOption, statuses } from "../choosing.ts";
import { defineCommand } from "../command.ts";

export const command = defineCommand({
  summary: "open a service in the browser",
  description:
    "Opens a service in the browser and prints its address. Where there is no browser, such as in an SSH session, it only prints it.",
  args: [
    { name: "service", description: "the first one with an address unless given", completes: "services" },
  ],
  options: { stack: stackOption, print: { type: "boolean", description: "print the address only" } },
  examples: ["kws open", "kws open gateway --stack shop", "kws open gateway --print"],
  async run({ args, options }, ctx) {
    const services = await statuses(ctx, await choose(ctx, args.slice(0, 1), options.stack));
    const service = services.find((candidate) => candidate.address.startsWith("http"));
    if (service === undefined) {
      throw new UserError(
        `${args[0] ?? "no service"} has ${args[0] === undefined ? "an" : "no"} address outside the cluster`,
        {
          code: "not-found",
          fix: "Add an Ingress to its chart.",
        },
      );
    }
    const url = await pageOf(service.service, service.address);
    const data = { service: service.service, stack: service.stack, url };
    if (options.print !== true) await openBrowser(url);
    return { data, text: url };

    async function pageOf(name: string, address: string): Promise<string> {
      const { hasSource } = await import("@kws/platform/project/workspace");
      const { openServices } = await import("@kws/platform/project/services");
      const project = await ctx.findProject();
      if (project === undefined) return address;
      const settings = { cache: ctx.locations.cache, env: ctx.childEnv, clones: "use" } as const;
      const services = openServices(project, settings);
      if (!(await services.has(name))) return address;
      const [found] = await services.find([name]);
      const open = found !== undefined && hasSource(found) ? found.config.open : undefined;
      if (open === undefined) return address;
      const page = new URL(open.path ?? "/", address);
      if (open.host !== undefined) page.hostname = open.host;
      return page.href;
    }

    async function openBrowser(address: string): Promise<void> {
      const opener = openerFor(process.platform, ctx.env);
      const failed = "No browser could be started; open it yourself:\n";
      const missing = "There is no browser here; open it yourself:\n";
      const opened =
        opener !== undefined &&
        (await exec(opener.program, [address], { env: ctx.childEnv, timeoutMs: 10_000 }).then(
          ({ exitCode }) => opener.careless === true || exitCode === 0,
          (error: unknown) => {
            if (error instanceof UserError) return false;
            throw error;
          },
        ));
      if (!opened && !ctx.quiet) ctx.stderr.write(opener === undefined ? missing : failed);
    }
  },
});
