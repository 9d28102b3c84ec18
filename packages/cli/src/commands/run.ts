import { UserError } from "@kws/base/errors";
import { clusterOf } from "@kws/platform/attach/cluster";
import { choose } from "../choosing.ts";
import { defineCommand } from "../command.ts";
import { runInTerminal } from "../running-locally.ts";

export const command = defineCommand({
  summary: "run a process on this machine with a service's environment",
  description:
    "Runs a process of this machine with the variables of a service's container, its mounted ConfigMaps and Secrets in a folder in " +
    "memory that KWS_ROOT names, and the namespace's Services under their names. Exits with its code.",
  args: [
    {
      name: "command",
      description: "the command and its arguments, after --",
      required: true,
      variadic: true,
    },
  ],
  options: {
    service: {
      type: "string",
      short: "s",
      value: "name",
      description: "the service",
      completes: "services",
    },
    stack: {
      type: "string",
      value: "name",
      description: "the stack; where it is left out, the one that has the service",
      completes: "stacks",
    },
    container: {
      type: "string",
      short: "c",
      value: "name",
      description: "the container; the pod's first unless given",
    },
    proxy: {
      type: "boolean",
      description: "also a proxy for the cluster's names, in HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
    },
  },
  examples: [
    "kws run -s orders -- npm start",
    "kws run -s orders -- sh -c 'curl http://payments'",
    "kws run -s orders --proxy -- curl http://payments.billing.svc:8080",
  ],
  async run({ args, options }, ctx) {
    const { service } = options;
    if (service === undefined) {
      throw new UserError("no service was named", { code: "usage", fix: "Name it with -s." });
    }
    const { connection, releases } = await choose(ctx, [service], options.stack);
    const exitCode = await runInTerminal(ctx, {
      cluster: await clusterOf(connection),
      service,
      namespace: releases[0]?.namespace ?? "",
      container: options.container,
      command: args,
      proxy: options.proxy === true,
      signal: ctx.signal,
    });
    return { exitCode };
  },
});
