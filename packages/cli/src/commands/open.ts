import { exitCodes, UserError } from "@kws/base/errors";
import { kubeServicesOf, portsOf } from "@kws/platform/attach/backends";
import { clusterOf } from "@kws/platform/attach/cluster";
import { openForward } from "@kws/platform/attach/forward";
import { answersHttp } from "@kws/platform/attach/reach";
import { openBrowser } from "../browser.ts";
import { type Chosen, choose, stackOption, statuses } from "../choosing.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { untilAborted } from "../waiting.ts";

const loopback = "127.0.0.1";

export const command = defineCommand({
  summary: "open a service in the browser",
  description:
    "Opens a service in the browser and prints its address. Where there is no browser, such as in an SSH session, it only prints it. " +
    "On a terminal, a service that has no Ingress, or whose Ingress nothing serves on this machine, is forwarded to a local port " +
    "until Ctrl-C.",
  args: [
    { name: "service", description: "the first one with an address unless given", completes: "services" },
  ],
  options: { stack: stackOption, print: { type: "boolean", description: "print the address only" } },
  examples: ["kws open", "kws open gateway --stack shop", "kws open gateway --print"],
  async run({ args: [name], options }, ctx) {
    const chosen = await choose(ctx, name === undefined ? [] : [name], options.stack);
    const found = await findPage(ctx, chosen);
    if (found === undefined) {
      const stays = ctx.interactive && options.print !== true && ctx.globals.output !== "json";
      if (name === undefined || !stays) throw noAddress(name);
      return openForwarded(ctx, chosen, name);
    }
    if (options.print !== true) await openBrowser(ctx, found.url);
    return { data: found, text: found.url };
  },
});

/** Opens one that has an address, and answers it. */
export async function openService(ctx: Context, name: string, stack?: string): Promise<string> {
  const found = await findPage(ctx, await choose(ctx, [name], stack));
  if (found === undefined) throw noAddress(name);
  await openBrowser(ctx, found.url);
  return found.url;
}

function noAddress(name: string | undefined): UserError {
  const what = name === undefined ? "no service has an address" : `${name} has no address`;
  return new UserError(`${what} that this machine reaches`, {
    code: "not-found",
    fix: `Forward it: \`kws service forward ${name ?? "NAME"}\`. Or add an Ingress to its chart, and see that the cluster serves it.`,
  });
}

/** The first with an Ingress that is served; undefined where there is none. */
async function findPage(
  ctx: Context,
  chosen: Chosen,
): Promise<{ service: string; stack: string; url: string } | undefined> {
  const all = await statuses(ctx, chosen);
  const service = all.find((candidate) => candidate.address.startsWith("http"));
  if (service === undefined || !(await answersHttp(new URL(service.address), ctx.signal))) return undefined;
  const { open } = (await ownConfig(ctx, service.service)) ?? {};
  const page = new URL(open?.path ?? "/", service.address);
  if (open?.host !== undefined) page.hostname = open.host;
  return {
    service: service.service,
    stack: service.stack,
    url: open === undefined ? service.address : page.href,
  };
}

/** For as long as the command runs. */
async function openForwarded(
  ctx: Context,
  { connection, releases: [release] }: Chosen,
  service: string,
): Promise<{ exitCode: number }> {
  const { signal } = ctx;
  const namespace = release?.namespace ?? "";
  const objects = await kubeServicesOf(connection.client, service, namespace, signal);
  const object = objects.find((one) => portsOf(one).length > 0);
  const port = object === undefined ? undefined : portsOf(object)[0]?.port;
  if (object === undefined || port === undefined) throw noAddress(service);
  await using forward = await openForward({
    cluster: await clusterOf(connection),
    target: { service, namespace, kubeService: object.metadata.name, port },
    address: loopback,
    localPort: undefined,
    preferred: port,
    signal,
    onState: ({ working, reason }) =>
      void ctx.stderr.write(
        working ? `${service} answers again\n` : `${service} does not answer: ${reason}\n`,
      ),
  });
  const { open } = (await ownConfig(ctx, service)) ?? {};
  const page = new URL(open?.path ?? "/", `http://${loopback}:${forward.port}`);
  if (!ctx.quiet) ctx.stderr.write(`${service}:${port} is forwarded until Ctrl-C\n`);
  await openBrowser(ctx, page.href);
  ctx.stdout.write(`${page.href}\n`);
  await untilAborted(signal);
  return { exitCode: exitCodes.interrupted };
}

/** What the service's own kws.yaml says, where the workspace has it. */
async function ownConfig(ctx: Context, name: string) {
  const { hasSource } = await import("@kws/platform/project/workspace");
  const { openServices } = await import("@kws/platform/project/services");
  const project = await ctx.findProject();
  if (project === undefined) return undefined;
  const all = openServices(project, { cache: ctx.locations.cache, env: ctx.childEnv, clones: "use" });
  if (!(await all.has(name))) return undefined;
  const [found] = await all.find([name]);
  return found !== undefined && hasSource(found) ? found.config : undefined;
}
