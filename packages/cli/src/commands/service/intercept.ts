import { parseDuration } from "@kws/base/duration";
import { exitCodes, UserError } from "@kws/base/errors";
import { findPort, kubeServicesOf, portsOf } from "@kws/platform/attach/backends";
import { clusterOf } from "@kws/platform/attach/cluster";
import { type InterceptEvent, startIntercept } from "@kws/platform/attach/intercept";
import { parsePort } from "@kws/platform/attach/ports";
import { endIntercept, readInterceptMark } from "@kws/platform/attach/take";
import { namesOf } from "@kws/platform/attach/objects";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { defaultNodeImage } from "../../remote.ts";
import { runInTerminal } from "../../running-locally.ts";
import { defaultTimeoutMs, untilAborted } from "../../waiting.ts";

const defaultGraceMs = parseDuration("10m");

export const command = defineCommand({
  summary: "answer a service's requests on this machine",
  description:
    "Sends the connections to one port of a service to a process on this machine, or with --header only the HTTP requests that " +
    "have it. Through the Kubernetes API alone: a proxy takes the place of the service's pods, and sends everything to them as " +
    "soon as this machine, the process or the network is gone. Ctrl-C gives the service back; --stop does so from anywhere. A " +
    "command after -- is run as `kws run` does, for as long as it lives.",
  args: [
    { name: "service", description: "the service", required: true, completes: "services" },
    { name: "command", description: "a command and its arguments, after --", variadic: true },
  ],
  options: {
    stack: stackOption,
    port: {
      type: "string",
      value: "LOCAL[:REMOTE]",
      description: "the process's port, and the service's where it has several",
    },
    header: {
      type: "list",
      value: "name=value",
      description: "only requests with this header; of several, with all of them",
    },
    image: {
      type: "string",
      value: "image",
      description: `with a Node, for the proxy; the provider's own, or ${defaultNodeImage}, unless given`,
    },
    grace: {
      type: "duration",
      value: "duration",
      description: "how long the proxy stays when this machine is gone; 10m unless given",
    },
    "take-over": {
      type: "boolean",
      description: "also where somebody else intercepts it, whose intercept ends",
    },
    stop: { type: "boolean", description: "give the service back, whoever intercepts it" },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for the proxy to start; 5m unless given",
    },
  },
  examples: [
    "kws service intercept orders --port 3000",
    "kws service intercept orders --port 3000:80 --header x-debug=me",
    "kws service intercept orders --port 3000 -- npm start",
    "kws service intercept orders --stop",
  ],
  async run({ args: [service = "", ...words], options }, ctx) {
    const { signal } = ctx;
    if (options.stop !== true && options.port === undefined) {
      throw new UserError("no port of this machine was named", {
        code: "usage",
        fix: `Name the one that the process listens on, as in \`kws service intercept ${service} --port 3000\`.`,
      });
    }
    const { provider, connection, releases } = await choose(ctx, [service], options.stack);
    const namespace = releases[0]?.namespace ?? "";
    const objects = await kubeServicesOf(connection.client, service, namespace, signal);
    if (options.stop === true) {
      const object = objects.find((one) => readInterceptMark(one) !== undefined);
      const changed = await endIntercept(connection.client, namesOf(service, namespace), object);
      const text = changed ? `${service} is given back` : `${service} is not intercepted`;
      return { data: { service, changed }, text };
    }
    const { object, remote, local } = choosePort(service, objects, options.port ?? "");
    const where = { host: "127.0.0.1", port: local };
    const cluster = await clusterOf(connection);
    const intercept = await startIntercept({
      ...ctx,
      cluster,
      service,
      namespace,
      object,
      remote,
      local: where,
      headers: parseHeaders(options.header ?? []),
      image: options.image ?? provider.nodeImage ?? defaultNodeImage,
      graceMs: options.grace ?? defaultGraceMs,
      takeOver: options["take-over"] === true,
      timeoutMs: options.timeout ?? defaultTimeoutMs,
      onEvent: reporter(ctx, service, `${where.host}:${where.port}`),
    });
    try {
      if (words.length > 0) {
        const lost = new AbortController();
        void intercept.ended.then((reason) => lost.abort(reason));
        const both = AbortSignal.any([signal, lost.signal]);
        const exitCode = await runInTerminal(ctx, {
          cluster,
          service,
          namespace,
          command: words,
          signal: both,
        });
        lost.signal.throwIfAborted();
        return { exitCode };
      }
      const lost = await Promise.race([intercept.ended, untilAborted(signal)]);
      if (lost !== undefined) throw lost;
      return { exitCode: exitCodes.interrupted };
    } finally {
      await intercept[Symbol.asyncDispose]();
    }
  },
});

type KubeService = Parameters<typeof portsOf>[0];

/** `--port` is the other way round than a forward's: a single number is the local one. */
function choosePort(
  service: string,
  objects: KubeService[],
  text: string,
): { object: KubeService; remote: number | string; local: number } {
  const alone = /^\d+$/.test(text);
  const { local, remote } = parsePort(alone ? `${text}:1` : text);
  if (local === undefined) {
    throw new UserError(`--port ${text} names no port of this machine`, {
      code: "usage",
      fix: `Write LOCAL:REMOTE, such as 3000:${text}.`,
    });
  }
  const all = objects.flatMap((object) => portsOf(object).map((port) => ({ object, port })));
  const found = alone ? all : all.filter(({ object, port }) => findPort(object, remote) === port);
  const [first] = found;
  const several = alone && new Set(found.map(({ port }) => port.port)).size > 1;
  if (first === undefined || several) {
    const ports = all.map(({ port }) => port.port).join(", ");
    throw new UserError(several ? `${service} has several ports` : `${service} has no such port`, {
      code: several ? "usage" : "not-found",
      fix:
        ports === ""
          ? "Only services with a Service can be intercepted."
          : `Name one of ${ports}, as in --port ${local}:${all[0]?.port.port}.`,
    });
  }
  return { object: first.object, remote: first.port.port, local };
}

/** By lower-case name, as the proxy compares them. */
function parseHeaders(words: string[]): Record<string, string> {
  const headers = new Map<string, string>();
  for (const word of words) {
    const at = word.indexOf("=");
    // RFC 9110, section 5.6.2: what else could stand in a name would never be there.
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(word.slice(0, Math.max(0, at)))) {
      throw new UserError(`"${word}" is no header`, { code: "usage", fix: "Write NAME=VALUE." });
    }
    const name = word.slice(0, at).toLowerCase();
    if (headers.has(name)) {
      throw new UserError(`the header ${name} is named twice`, {
        code: "usage",
        fix: "Name each header once: only requests that have all of them are meant.",
      });
    }
    headers.set(name, word.slice(at + 1));
  }
  return Object.fromEntries(headers);
}

function reporter(ctx: Context, service: string, local: string): (event: InterceptEvent) => void {
  if (ctx.globals.output === "json") {
    return (event) => ctx.stdout.write(`${JSON.stringify({ service, ...event })}\n`);
  }
  return (event) => {
    if (ctx.quiet || event.kind === "connection") return;
    const words = {
      intercepting: `${service}'s requests come to ${local}; Ctrl-C gives the service back`,
      lost: `${event.kind === "lost" ? event.reason : ""}: ${service}'s pods answer until it is there again`,
      unanswered: `nothing listens on ${local}: ${service}'s pods answer`,
      problem: event.kind === "problem" ? event.message : "",
    };
    ctx.stderr.write(`${words[event.kind]}\n`);
  };
}
