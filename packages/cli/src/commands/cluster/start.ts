import { UserError } from "@kws/base/errors";
import { runtimeNames, type RuntimeName } from "@kws/platform/project/provider-names";
import { clusterTable } from "../../tables.ts";
import type { ProviderStatus } from "@kws/platform/providers/provider";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";

export const command = defineCommand({
  summary: "start the cluster of this machine, or say that it runs",
  description:
    "Makes the cluster where there is none, starts it where it is stopped, and restarts it where its API server does not answer, as after sleep. The current context of your kubeconfig stays what it is.",
  args: [{ name: "name", description: "the cluster's name", completes: "clusters" }],
  options: {
    "ingress-port": {
      type: "number",
      value: "port",
      min: 1,
      max: 65_535,
      description: "where Ingress hosts are served; 8080, or the next free one",
    },
    runtime: {
      type: "string",
      value: "name",
      choices: runtimeNames,
      description:
        "what runs an embedded cluster's containers; that of the last start, or the machine's usual one",
    },
    "switch-context": {
      type: "boolean",
      description: "add the cluster to your kubeconfig, and make it the current context",
    },
  },
  examples: [
    "kws cluster start",
    "kws cluster start second --ingress-port 9090",
    "kws cluster start --runtime docker",
    "kws cluster start --provider k3d --switch-context",
  ],
  async run({ args: [name], options }, ctx) {
    const provider = await ctx.provider(name);
    const port = options["ingress-port"];
    const { runtime } = options;
    if (runtime !== undefined && provider.name !== "embedded") {
      throw new UserError(`--runtime is for embedded clusters, and this one is of ${provider.name}`, {
        code: "usage",
        fix: "Leave it out, or add --provider embedded.",
      });
    }
    const before = await provider.status();
    const status = await ctx.steps().run({ id: "cluster", title: `cluster ${name ?? ""}`.trim() }, (step) =>
      provider.start({
        signal: ctx.signal,
        onProgress: (text) => step.detail(text),
        ...(port === undefined ? {} : { ingressPort: port }),
        ...(runtime === undefined ? {} : { runtime: runtime as RuntimeName }),
      }),
    );
    if (options["switch-context"] === true) {
      const [{ switchContext }, { kubeconfigPaths }] = await Promise.all([
        import("@kws/platform/providers/switch-context"),
        import("@kws/kube/kubeconfig"),
      ]);
      const [path = ""] = kubeconfigPaths(undefined, ctx.env, ctx.home);
      const context = await switchContext(await provider.kubeconfig(), path);
      if (!ctx.quiet) ctx.stderr.write(`the current context of ${path} is ${context}\n`);
    }
    tellIngressPort(ctx, before, status, port);
    if (runtime !== undefined && runtime !== status.runtime) {
      const change = `\`kws cluster stop ${status.name}\`, then this command again`;
      ctx.stderr.write(
        `the cluster runs already, and --runtime ${runtime} is not applied: its containers are in ${status.runtime}. To change it: ${change}\n`,
      );
    }
    return { data: status, table: clusterTable([status], ctx.style, ctx.clock()) };
  },
});

/** Where a port that was asked for is not the one that is served, that is told, and how to change it. */
function tellIngressPort(
  ctx: Context,
  before: ProviderStatus,
  { name, provider, ingressPort, ingressPortMoved }: ProviderStatus,
  asked: number | undefined,
): void {
  const served =
    ingressPort === undefined
      ? `${provider} brings nothing that serves Ingress hosts`
      : `Ingress hosts are served on ${ingressPort}`;
  if (ingressPortMoved === true && before.state !== "running") {
    if (!ctx.quiet) ctx.stderr.write(`port ${asked ?? 8080} is taken: ${served}\n`);
    return;
  }
  if (asked === undefined || asked === ingressPort) return;
  const where = before.state === "running" ? "the cluster runs already, and " : "";
  const change = provider === "embedded" ? `\`kws cluster stop ${name}\`` : `\`kws cluster reset ${name}\``;
  const how = ingressPort === undefined ? "" : `. To change it: ${change}, then this command again`;
  ctx.stderr.write(`${where}--ingress-port ${asked} is not applied: ${served}${how}\n`);
}
