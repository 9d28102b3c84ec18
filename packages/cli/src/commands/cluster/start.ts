import { clusterTable } from "../../tables.ts";
import { defineCommand } from "../../command.ts";

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
    "switch-context": {
      type: "boolean",
      description: "add the cluster to your kubeconfig, and make it the current context",
    },
  },
  examples: [
    "kws cluster start",
    "kws cluster start second --ingress-port 9090",
    "kws cluster start --provider k3d --switch-context",
  ],
  async run({ args: [name], options }, ctx) {
    const provider = await ctx.provider(name);
    const port = options["ingress-port"];
    const before = await provider.status();
    const status = await ctx.steps().run({ id: "cluster", title: `cluster ${name ?? ""}`.trim() }, (step) =>
      provider.start({
        signal: ctx.signal,
        onProgress: (text) => step.detail(text),
        ...(port === undefined ? {} : { ingressPort: port }),
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
    if (status.ingressPort === undefined) {
      return { data: status, table: clusterTable([status], ctx.style, ctx.clock()) };
    }
    const served = `Ingress hosts are served on ${status.ingressPort}`;
    if (before.state === "running" && port !== undefined && port !== status.ingressPort) {
      ctx.stderr.write(
        `the cluster runs already, and --ingress-port ${port} is not applied: ${served}. ` +
          `To change it: \`kws cluster stop ${status.name}\`, then this command again\n`,
      );
    } else if (status.ingressPortMoved === true && !ctx.quiet) {
      ctx.stderr.write(`port ${port ?? 8080} is taken: ${served}\n`);
    }
    return { data: status, table: clusterTable([status], ctx.style, ctx.clock()) };
  },
});
