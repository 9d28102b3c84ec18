import { exitCodes } from "@kws/base/errors";
import { describeHold } from "@kws/platform/services/held";
import { readRevision } from "@kws/platform/services/revision";
import { choose, type Chosen, stackOption, statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { holdsOf } from "../../holding.ts";
import { renderTable } from "../../output.ts";
import { age, serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "a service with its pods and images",
  description: "A service with its pods and images. Exits with 3 where it is not ready.",
  args: [{ name: "service", description: "the service", required: true, completes: "services" }],
  options: { stack: stackOption },
  examples: ["kws service status orders", "kws service status orders --stack shop -o yaml"],
  async run({ args, options }, ctx) {
    const chosen = await choose(ctx, args.slice(0, 1), options.stack);
    const [services, description, [hold]] = await Promise.all([
      statuses(ctx, chosen),
      describe(chosen),
      holdsOf(ctx, chosen),
    ]);
    const pods = services.flatMap((service) => service.pods);
    const rows = pods.map((pod) => [
      pod.name,
      pod.ready,
      pod.status,
      String(pod.restarts),
      age(pod.startedAt, ctx.clock()),
      pod.images.join(","),
    ]);
    const ready = services.every((service) => service.state === "ready");
    return {
      data: { ...services[0], description },
      table: serviceTable(services, ctx.style, ctx.clock()),
      text: `${description === "" ? "" : `\n${description}\n`}${hold === undefined ? "" : `\n${describeHold(hold)}. \`kws service down ${hold.service}\` ends that.\n`}\n${renderTable(["POD", "READY", "STATUS", "RESTARTS", "AGE", "IMAGES"], rows, ctx.style)}`,
      exitCode: ready ? exitCodes.ok : exitCodes.degraded,
    };
  },
});

/** What a deployment wrote into Helm's history. Helm's own words for a failure may repeat what is secret, and are left out. */
async function describe({ connection, releases }: Chosen): Promise<string> {
  const [release] = releases;
  if (release === undefined || release.status !== "deployed" || release.version === "") return "";
  return (await readRevision(connection.client, release))?.description ?? "";
}
