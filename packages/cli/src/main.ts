/** The only place that reads the process: arguments, environment, streams, exit code. */
import packageJson from "../package.json" with { type: "json" };

if (process.argv[2] === "--version") process.stdout.write(`${packageJson.version}\n`);
