import { relative, resolve } from "node:path";
import { defineCommand } from "../../command.ts";
import { snapshotTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "keep the cluster as it is: objects, data and images",
  description:
    "Keeps a cluster as it is: objects, the data of its volumes, and the images that its pods name. Its pods stand still while their data " +
    "is copied, and go on. With -o FILE (or --to) the snapshot is written to an archive for another machine, and kept on this one only " +
    "where it has a name. Whoever has a snapshot has the cluster's Secrets.",
  args: [{ name: "name", description: "what the snapshot is called; the cluster and the time unless given" }],
  folderOption: "to",
  options: {
    to: {
      type: "string",
      value: "file",
      description: "write an archive: .tar.zst, .tar.gz or .tar; also -o",
    },
  },
  examples: [
    "kws cluster snapshot",
    "kws cluster snapshot seeded --cluster second",
    "kws cluster snapshot -o seeded.tar.zst",
  ],
  async run({ args: [name], options: { to } }, ctx) {
    const provider = await ctx.provider();
    const snapshots = provider.snapshots();
    const { name: cluster } = await provider.status();
    const now = ctx.clock();
    const time = new Date(now)
      .toISOString()
      .replaceAll(/[-:]|\.\d+Z/g, "")
      .replace("T", "-");
    const archive = to === undefined ? undefined : resolve(ctx.cwd, to);
    const snapshot = await ctx.steps().run({ id: "snapshot", title: `snapshot of ${cluster}` }, (step) =>
      snapshots.take({
        name: name ?? `${cluster}-${time}`,
        keep: name !== undefined || archive === undefined,
        ...(archive === undefined ? {} : { archive }),
        now,
        signal: ctx.signal,
        onProgress: (text) => step.detail(text),
      }),
    );
    const from = archive === undefined ? snapshot.name : relative(ctx.cwd, archive);
    return {
      data: snapshot,
      table: snapshotTable([snapshot], ctx.clock()),
      text: `\nPods stood still for ${snapshot.pausedMs} ms. Bring it back with: kws cluster restore ${from}`,
    };
  },
});
