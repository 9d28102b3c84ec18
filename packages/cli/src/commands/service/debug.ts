import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { UserError } from "@kws/base/errors";
import { debugSession, exitCodeOf, untilStarted } from "@kws/platform/services/debug";
import { locateTool } from "@kws/platform/tools/locate";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "a shell beside a service's container",
  description:
    "Starts a container beside the service's own, in the same pod, that sees its processes and its network: for images without a " +
    "shell, and for tools that they lack. It ends with the shell, and is gone with the pod. Exits with the command's code. Without " +
    "a terminal the command's output is printed, and nothing is read.",
  args: [
    { name: "service", description: "the service", required: true, completes: "services" },
    {
      name: "command",
      description: "the command and its arguments, after --; a shell unless given",
      variadic: true,
    },
  ],
  options: {
    stack: stackOption,
    image: {
      type: "string",
      value: "image",
      description:
        "what the container is made of; on the embedded cluster kws.local/node unless given, else busybox",
    },
    container: {
      type: "string",
      short: "c",
      value: "name",
      description: "the container to look into; the pod's first unless given",
    },
  },
  examples: ["kws service debug orders", "kws service debug orders --image busybox -- ps"],
  async run({ args: [service = "", ...given], options }, ctx) {
    const { provider, connection, releases } = await choose(ctx, [service], options.stack);
    const [release] = releases;
    if (release === undefined) throw new UserError(`${service} is not installed`, { code: "not-found" });
    const { childEnv, locations, signal } = ctx;
    const kubectl = await locateTool("kubectl", { env: childEnv, cache: locations.cache, signal });
    const name = `kws-debug-${randomBytes(3).toString("hex")}`;
    const tty = ctx.stdin.isTTY && ctx.stdout.isTTY === true;
    const session = await debugSession(connection, {
      release,
      name,
      image: options.image ?? provider.shellImage ?? "busybox",
      command: given.length > 0 ? given : ["sh"],
      container: options.container,
      tty,
    });
    const run = (args: string[]) =>
      new Promise<number>((resolve, reject) => {
        const child = spawn(kubectl.path, args, { stdio: "inherit", env: childEnv });
        child.on("error", reject);
        child.on("close", (code, ended) => resolve(code ?? (ended === "SIGINT" ? 130 : 1)));
      });
    const code = await run(session.start);
    if (code !== 0) return { exitCode: code };
    const place = { namespace: release.namespace, pod: session.pod, name, signal };
    if (!tty) {
      await untilStarted(connection, place);
      await run(session.follow);
    }
    return { exitCode: await exitCodeOf(connection, place) };
  },
});
