import { resolve } from "node:path";
import { formatAge } from "@kws/base/duration";
import { defineCommand } from "../../command.ts";
import { clusterTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "bring back a snapshot, into the same cluster or another one",
  description:
    "Replaces all that the cluster holds by what a snapshot holds, and starts it; makes the cluster where there is none. Pods start anew, " +
    "with their data. The cluster keeps its own keys, addresses and kubeconfig. An archive brings programs that run on this " +
    "machine: restore only what comes from somebody whom you trust.",
  args: [{ name: "snapshot", description: "a snapshot's name, or the path of an archive", required: true }],
  examples: [
    "kws cluster restore seeded",
    "kws cluster restore seeded --cluster second --yes",
    "kws cluster restore ./seeded.tar.zst",
  ],
  async run({ args: [given = ""] }, ctx) {
    const provider = await ctx.provider();
    const snapshots = provider.snapshots();
    const before = await provider.status();
    // What was never started has nothing to lose.
    const exists = before.apiUrl !== undefined;
    if (exists && !(await ctx.confirm(`Replace all that the cluster ${before.name} holds by ${given}?`)))
      return { text: "Nothing was changed." };
    const { cluster, snapshot, renamedImages } = await ctx
      .steps()
      .run({ id: "restore", title: `cluster ${before.name} from ${given}` }, (step) =>
        snapshots.restore({
          // A name has no dot and no slash.
          from: /[./]/.test(given) ? { archive: resolve(ctx.cwd, given) } : { snapshot: given },
          signal: ctx.signal,
          onProgress: (text) => step.detail(text),
        }),
      );
    const then = formatAge(ctx.clock() - Date.parse(snapshot.takenAt));
    return {
      data: { cluster, snapshot, renamedImages },
      table: clusterTable([cluster], ctx.style, ctx.clock()),
      text: [
        `\nThe cluster ${cluster.name} is as ${snapshot.cluster} was ${then} ago; its pods are starting.`,
        ...renamedImages.map((name) => `${name} is the image of the snapshot again, in all clusters.`),
      ].join("\n"),
    };
  },
});
