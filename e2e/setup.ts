/** The tests run what users run: the bundle, made from the sources as they are now. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export default function setup(): void {
  execFileSync(process.execPath, [fileURLToPath(new URL("../packages/cli/build.ts", import.meta.url))], {
    stdio: "inherit",
  });
}
