import { spawn } from "node:child_process";
import { UserError } from "@kws/base/errors";
import { execArguments, withoutExitNote } from "@kws/platform/services/exec";
import { locateTool } from "@kws/platform/tools/locate";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "run a command in a service's container",
  description:
    "Runs a command in a service's container and exits with its code. A shell unless a command is given.",
  args: [
    { name: "service", description: "the service", required: true, completes: "services" },
    { name: "command", description: "the command and its arguments, after --", variadic: true },
  ],
  options: {
    stack: stackOption,
    container: {
      type: "string",
      short: "c",
      value: "name",
      description: "the container; the pod's first unless given",
    },
  },
  examples: ["kws service exec orders", "kws service exec orders -- node -e 'console.log(1)'"],
  async run({ args: [service, ...given], options }, ctx) {
    if (service === undefined) throw new UserError("no service was named", { code: "usage" });
    const { connection, releases } = await choose(ctx, [service], options.stack);
    const [release] = releases;
    if (release === undefined) throw new UserError(`${service} is not installed`, { code: "not-found" });
    const kubectl = await locateTool("kubectl", {
      env: ctx.childEnv,
      cache: ctx.locations.cache,
      signal: ctx.signal,
    });
    const argv = await execArguments(connection, {
      release,
      command: given.length > 0 ? given : ["sh"],
      tty: ctx.stdin.isTTY && ctx.stdout.isTTY === true,
      ...(options.container === undefined ? {} : { container: options.container }),
    });
    const exitCode = await new Promise<number>((resolve, reject) => {
      const child = spawn(kubectl.path, argv, { stdio: ["inherit", "inherit", "pipe"], env: ctx.childEnv });
      const said = child.stderr.pipe(withoutExitNote()).setEncoding("utf8");
      said.on("data", (text: string) => ctx.stderr.write(text));
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 1)));
    });
    return { exitCode };
  },
});
