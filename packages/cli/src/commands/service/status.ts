import { exitCodes } from "@kws/base/errors";
import { choose, stackOption, statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { renderTable } from "../../output.ts";
import { age, serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "a service with its pods and images",
  description: "A service with its pods and images. Exits with 3 where it is not ready.",
  args: [{ name: "service", description: "the service", required: true, completes: "services" }],
  options: { stack: stackOption },
  examples: ["kws service status orders", "kws service status orders --stack shop -o yaml"],
  async run({ args, options }, ctx) {
    const services = await statuses(ctx, await choose(ctx, args.slice(0, 1), options.stack));
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
      data: services[0],
      table: serviceTable(services, ctx.style, ctx.clock()),
      text: `\n${renderTable(["POD", "READY", "STATUS", "RESTARTS", "AGE", "IMAGES"], rows, ctx.style)}`,
      exitCode: ready ? exitCodes.ok : exitCodes.degraded,
    };
  },
});
