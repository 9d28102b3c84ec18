#!/usr/bin/env node
// Starts kws on the Node that the repository pins, whatever Node the shell finds first. Plain JavaScript, so that an
// older Node can read it as well.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { fileURLToPath } from "node:url";

const bundle = new URL("../dist/kws.js", import.meta.url);
const major = Number(process.versions.node.split(".")[0]);

if (!existsSync(bundle)) {
  process.stderr.write("kws is not built yet. Run: npm ci\n");
  process.exitCode = 1;
} else if (major >= 24) {
  nodeModule.enableCompileCache?.();
  await import(bundle.href);
} else {
  const pinned = nodeModule.createRequire(import.meta.url).resolve("node/bin/node");
  const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  // Ctrl-C is for the program, or for an editor that it runs; this process waits for both.
  process.on("SIGINT", () => {});
  const result = spawnSync(pinned, args, { stdio: "inherit" });
  process.exitCode = result.status ?? 1;
}
