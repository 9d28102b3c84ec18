import { exitCodes } from "@kws/base/errors";
import { describeIntercepted } from "@kws/platform/attach/intercepted";
import { describeHold } from "@kws/platform/services/held";
import { podResources, type Share } from "@kws/platform/services/resources";
import { readRevision } from "@kws/platform/services/revision";
import { choose, type Chosen, stackOption, statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { holdsOf, interceptsOf } from "../../holding.ts";
import { renderTable } from "../../output.ts";
import { age, serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "a service with its pods, images, and what they use",
  description:
    "A service with its pods and images. CPU and memory are what a pod uses, where the cluster measures it, and after a slash what it " +
    "may use at most, or else asks for. Exits with 3 where the service is not ready.",
  args: [{ name: "service", description: "the service", required: true, completes: "services" }],
  options: { stack: stackOption },
  examples: ["kws service status orders", "kws service status orders --stack shop -o yaml"],
  async run({ args, options }, ctx) {
    const chosen = await choose(ctx, args.slice(0, 1), options.stack);
    const { client } = chosen.connection;
    const namespace = chosen.releases[0]?.namespace ?? "";
    const [[service], description, [hold], [intercepted], resources] = await Promise.all([
      statuses(ctx, chosen),
      describe(chosen),
      holdsOf(ctx, chosen),
      interceptsOf(ctx, chosen),
      podResources(client, namespace, ctx.signal),
    ]);
    if (service === undefined) throw new Error("a chosen release has a status");
    const pods = service.pods.map((pod) => Object.assign(pod, resources.get(pod.name)));
    const rows = pods.map((pod) => [
      pod.name,
      pod.ready,
      pod.status,
      String(pod.restarts),
      age(pod.startedAt, ctx.clock()),
      share(pod.cpu, cores),
      share(pod.memory, mebibytes),
      pod.images.join(","),
    ]);
    const intercept =
      intercepted === undefined ? {} : { intercept: { by: intercepted.by, since: intercepted.since } };
    const held = [
      ...(hold === undefined ? [] : [describeHold(hold)]),
      ...(intercepted === undefined ? [] : [describeIntercepted(intercepted)]),
    ].map((words) => `${words}. \`kws service down ${service.service}\` ends that.`);
    return {
      data: { ...service, ...intercept, pods, description },
      table: serviceTable([service], ctx.style, ctx.clock()),
      text: [
        ...(description === "" ? [] : ["", description]),
        ...(held.length === 0 ? [] : ["", ...held]),
        "",
        renderTable(
          ["POD", "READY", "STATUS", "RESTARTS", "AGE", "CPU", "MEMORY", "IMAGES"],
          rows,
          ctx.style,
        ),
      ].join("\n"),
      exitCode: service.state === "ready" ? exitCodes.ok : exitCodes.degraded,
    };
  },
});

/** What a deployment wrote into Helm's history. Helm's own words for a failure may repeat what is secret, and are left out. */
async function describe({ connection, releases }: Chosen): Promise<string> {
  const [release] = releases;
  if (release === undefined || release.status !== "deployed" || release.version === "") return "";
  return (await readRevision(connection.client, release))?.description ?? "";
}

const cores = (value: number) => `${Math.round(value * 1000)}m`;
const mebibytes = (value: number) => `${Math.ceil(value / 2 ** 20)}Mi`;

/** `12m/500m`; `-` for what is not known. */
function share(given: Share | undefined, written: (value: number) => string): string {
  if (given === undefined) return "-";
  const { used, limit, requested } = given;
  const bound = limit ?? (requested > 0 ? requested : undefined);
  return `${used === undefined ? "-" : written(used)}/${bound === undefined ? "-" : written(bound)}`;
}
