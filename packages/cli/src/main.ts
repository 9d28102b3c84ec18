/** The only place that reads the process: arguments, environment, streams, exit code. It has the one catch. */
import packageJson from "../package.json" with { type: "json" };

if (process.argv.length === 3 && process.argv[2] === "--version") {
  process.stdout.write(`${packageJson.version}\n`);
} else {
  await main();
}

async function main(): Promise<void> {
  const [{ runProgram }, { homedir, hostname, userInfo }] = await Promise.all([
    import("./program.ts"),
    import("node:os"),
  ]);
  const controller = new AbortController();
  let interrupts = 0;
  let inForeground = 0;
  const interruption = (by: string) =>
    Object.assign(new Error(`interrupted by ${by}`), { name: "InterruptError" });
  const onSignal = (signal: NodeJS.Signals) => {
    if (signal === "SIGINT" && inForeground > 0) return;
    // The second Ctrl-C means it.
    if (++interrupts > 1) process.exit(130);
    controller.abort(interruption(signal));
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  // The terminal was closed, which the kernel tells and then the shell too: what a command holds is to be given back.
  process.on("SIGHUP", () => controller.abort(interruption("SIGHUP")));
  // A reader that went away, such as `head` or a terminal, ends the command without a word; so does a terminal that can no longer be read from.
  let unheard = false;
  const onOutputError = (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
    unheard = true;
    if (!controller.signal.aborted) controller.abort(interruption("the end of its output"));
  };
  process.stdout.on("error", onOutputError);
  process.stderr.on("error", onOutputError);
  process.stdin.on("error", onOutputError);
  const userName = () => {
    try {
      return userInfo().username;
    } catch {
      // A container may run as a user that has no name.
      return String(process.getuid?.() ?? "unknown");
    }
  };
  const exitCode = await runProgram(process.argv.slice(2), {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    home: process.env["HOME"] ?? homedir(),
    version: packageJson.version,
    nodePath: process.execPath,
    program: process.argv[1] ?? "",
    signal: controller.signal,
    async foreground(run) {
      inForeground++;
      try {
        return await run();
      } finally {
        inForeground--;
      }
    },
    now: () => performance.now(),
    clock: () => Date.now(),
    holder: { user: userName(), host: hostname(), pid: process.pid },
  });
  process.exitCode = unheard ? 0 : exitCode;
}
