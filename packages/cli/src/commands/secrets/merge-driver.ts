import { resolve } from "node:path";
import { exitCodes } from "@kws/base/errors";
import { formatOfPath, readSecretFile, writeSecretFile } from "@kws/platform/secrets/files";
import { mergeEncrypted } from "@kws/platform/secrets/merge";
import { defineCommand } from "../../command.ts";
import { openTools } from "../../secrets.ts";

export const command = defineCommand({
  summary: "merge three versions of an encrypted file, for git",
  description:
    "Merges three versions of an encrypted file key by key, in memory, and writes the second one, as git asks its merge drivers. " +
    "Exits with 1 where both sides changed the same key: it is named, and the current side's value stays until you decide.",
  args: [
    { name: "base", description: "git's %O", required: true },
    { name: "ours", description: "git's %A, which is written", required: true },
    { name: "theirs", description: "git's %B", required: true },
    { name: "path", description: "git's %P", required: true },
  ],
  examples: ["kws secrets merge-driver %O %A %B %P"],
  async run({ args: [base = "", ours = "", theirs = "", path = ""] }, ctx) {
    const tools = await openTools(ctx, {});
    const format = formatOfPath(path);
    const read = async (name: string) => (await readSecretFile(resolve(ctx.cwd, name), format)).content;
    const contents = { base: await read(base), ours: await read(ours), theirs: await read(theirs) };
    const { content, conflicts } = await mergeEncrypted(
      contents,
      { format, file: resolve(ctx.cwd, path) },
      tools,
    );
    await writeSecretFile(resolve(ctx.cwd, ours), content);
    for (const key of conflicts)
      ctx.stderr.write(`conflict in ${path}: both sides changed ${key}; the current side's is kept\n`);
    if (conflicts.length > 0) {
      ctx.stderr.write(
        `  The other side: git show :3:${path} | kws secrets decrypt --input-type ${format} /dev/stdin\n` +
          `  Set what it should be with \`kws secrets set\` or \`edit\`, then: git add ${path}\n`,
      );
    }
    return { data: { file: path, conflicts }, exitCode: conflicts.length === 0 ? 0 : exitCodes.failed };
  },
});
