import { isIP } from "node:net";
import { exitCodes, UserError } from "@kws/base/errors";
import { checkPort, kubeServicesOf, portsOf, findPort } from "@kws/platform/attach/backends";
import { clusterOf } from "@kws/platform/attach/cluster";
import { type Forward, openForward } from "@kws/platform/attach/forward";
import { parseForwards, type WantedPort } from "@kws/platform/attach/ports";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { untilAborted } from "../../waiting.ts";

const loopback = "127.0.0.1";

export const command = defineCommand({
  summary: "reach services on ports of this machine",
  description:
    "Listens on this machine for as long as the command runs, and leads each connection to a pod that is ready then: redeploys, " +
    "restarts and sleep interrupt single connections and never the forward. Ports belong to the service before them; without any, " +
    "all of the service's are forwarded, to the same number where it is free. TCP only. With -o json, one event a line.",
  args: [
    {
      name: "targets",
      description: "a service, and its ports as [LOCAL:]REMOTE",
      required: true,
      variadic: true,
      completes: "services",
    },
  ],
  options: {
    stack: stackOption,
    address: {
      type: "string",
      value: "address",
      description: "of this machine, to listen on; 127.0.0.1 unless given",
    },
  },
  examples: [
    "kws service forward orders",
    "kws service forward orders 8080:80 postgres 5432",
    "kws service forward orders 9229",
  ],
  async run({ args, options }, ctx) {
    const { signal } = ctx;
    const wanted = parseForwards(args);
    const address = options.address ?? loopback;
    if (isIP(address) === 0) {
      throw new UserError(`"${address}" is no address`, {
        code: "usage",
        fix: "Write one such as 127.0.0.1.",
      });
    }
    const json = ctx.globals.output === "json";
    const tell = (event: { kind: string; service: string; [key: string]: unknown }, words: string) => {
      if (json) ctx.stdout.write(`${JSON.stringify(event)}\n`);
      else if (event.kind === "listening") ctx.stdout.write(`${words}\n`);
      else if (!ctx.quiet) ctx.stderr.write(`${words}\n`);
    };
    if (!isLoopback(address)) {
      ctx.stderr.write(
        `${ctx.style.yellow("warning:")} everybody who reaches ${address} reaches the services\n`,
      );
    }
    const { connection, releases } = await choose(
      ctx,
      wanted.map(({ service }) => service),
      options.stack,
    );
    const cluster = await clusterOf(connection);
    const forwards: Forward[] = [];
    try {
      for (const { service, ports } of wanted) {
        const namespace = releases.find((release) => release.service === service)?.namespace ?? "";
        const objects = await kubeServicesOf(connection.client, service, namespace, signal);
        for (const { remote } of ports) checkPort(service, objects, remote);
        const all = ports.length > 0 ? ports : portsOfAll(service, objects);
        for (const { local, remote } of all) {
          const object = objects.find((one) => findPort(one, remote) !== undefined) ?? objects[0];
          const number = object === undefined ? undefined : findPort(object, remote)?.port;
          const forward = await openForward({
            cluster,
            target: { service, namespace, kubeService: object?.metadata.name, port: remote },
            address,
            localPort: local,
            preferred: number ?? Number(remote),
            signal,
            onState: ({ working, reason }) =>
              working
                ? tell({ kind: "working", service, port: remote }, `${service} answers again`)
                : tell(
                    { kind: "failing", service, port: remote, reason },
                    `${service} does not answer: ${reason}`,
                  ),
          });
          forwards.push(forward);
          const host = isIP(address) === 6 ? `[${address}]` : address;
          tell(
            { kind: "listening", service, namespace, address, localPort: forward.port, port: remote },
            `${host}:${forward.port} → ${service}:${remote}`,
          );
        }
      }
      await untilAborted(signal);
      return { exitCode: exitCodes.interrupted };
    } finally {
      await Promise.all(forwards.map((forward) => forward[Symbol.asyncDispose]()));
    }
  },
});

function portsOfAll(service: string, objects: Parameters<typeof portsOf>[0][]): WantedPort[] {
  const ports = objects.flatMap(portsOf).filter(({ protocol = "TCP" }) => protocol === "TCP");
  if (ports.length === 0) {
    throw new UserError(`${service} has no Service with a TCP port`, {
      code: "not-found",
      fix: `Name a port of its pods, as in \`kws service forward ${service} 9229\`.`,
    });
  }
  return [...new Set(ports.map(({ port }) => port))].map((remote) => ({ local: undefined, remote }));
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
