import { UserError } from "@kws/base/errors";
import { readNamespace } from "@kws/platform/services/workloads";
import { claimsOf } from "@kws/platform/stacks/claims";
import { removeServices } from "@kws/platform/stacks/remove";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { settleHolds } from "../../holding.ts";
import { removal } from "../../starting.ts";

export const command = defineCommand({
  summary: "remove single services of a stack with their data",
  description:
    "Uninstalls the services; the stack goes on without them, and `kws service start` brings them back. Only releases that kws made " +
    "are removed. Volumes of StatefulSets go too, unless --keep-data is given: then the next start finds them.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: {
    stack: stackOption,
    "keep-data": { type: "boolean", description: "keep the volumes" },
    "dry-run": { type: "boolean", description: "tell what would be removed" },
    timeout: { type: "duration", value: "duration", description: "for one service to end; 5m unless given" },
  },
  examples: ["kws service remove payments", "kws service remove postgres --keep-data --yes"],
  async run({ args, options }, ctx) {
    const chosen = await choose(ctx, args, options.stack);
    const { connection, provider, releases } = chosen;
    const { client } = connection;
    const [first] = releases;
    if (
      first === undefined ||
      releases.some((one) => one.stack !== first.stack || one.namespace !== first.namespace)
    ) {
      throw new UserError("the services are in several stacks", {
        code: "usage",
        fix: "Name one with --stack.",
      });
    }
    const { stack, namespace } = first;
    const services = [...new Set(args)];
    const seen = await readNamespace(client, namespace, ctx.signal);
    const found = await claimsOf(client, { stack, namespace, services, seen, signal: ctx.signal });
    const volumes = found.map(({ claim }) => claim);
    const keptData = options["keep-data"] ?? false;
    const what = services.join(" and ");
    if (options["dry-run"] === true) {
      const fate =
        volumes.length === 0 ? "no volumes" : `${volumes.join(", ")}, ${keptData ? "kept" : "removed"}`;
      return {
        data: { stack, namespace, services, volumes, keptData },
        text: `services: ${services.join(", ")}\nvolumes: ${fate}\nNothing was changed.`,
      };
    }
    const data =
      volumes.length === 0 ? "" : `${keptData ? ", and keep" : " with"} the data of ${volumes.join(", ")}`;
    if (!(await ctx.confirm(`Remove ${what} of the stack ${stack}${data}?`)))
      return { text: "Nothing was changed." };
    await settleHolds(ctx, chosen);
    const settings = await removal(ctx, {
      provider,
      project: await ctx.findProject(),
      timeoutMs: options.timeout,
    });
    const removed = await removeServices({ ...settings, stack, namespace, services, keepData: keptData });
    const told = volumes.length === 0 ? "" : keptData ? "; the volumes are kept" : ", and the volumes too";
    return { data: removed, text: `${what} ${services.length === 1 ? "is" : "are"} gone${told}.` };
  },
});
