import { configHistory, type FileRevision } from "@kws/platform/config/history";
import { keyPath, parseKeyPath } from "@kws/platform/project/key-path";
import { secretOpener } from "@kws/platform/secrets/open";
import { defineCommand } from "../../command.ts";
import { changeCell, configurationFiles } from "../../configuration.ts";
import { profileOption, serviceArgument } from "../../profiles.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "who changed which key of a service's configuration, and when",
  description:
    "Who changed which key of a service's configuration with a profile, and when, from git, newest first. Of secrets it is told " +
    "that they changed. After a new data key that takes a key of yours that opens both versions.",
  args: [serviceArgument],
  options: {
    profile: profileOption,
    key: { type: "string", value: "key", description: "only this key, and those in it" },
    limit: { type: "number", value: "count", min: 1, description: "at most so many revisions" },
  },
  examples: ["kws config history orders -p qa", "kws config history orders -p qa --key config.LOG_LEVEL"],
  async run({ args: [service = ""], options }, ctx) {
    const key = options.key === undefined ? undefined : keyPath(parseKeyPath(options.key));
    const { repository, paths } = await configurationFiles(ctx, service, options.profile);
    const data = await configHistory(repository, {
      paths,
      decrypt: secretOpener(ctx, ctx.signal),
      ...(key === undefined ? {} : { key }),
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    });
    if (data.length === 0) return { data, text: "No revision changed it." };
    const rows = data.flatMap(({ id, date, author, files }) =>
      files.flatMap((file) =>
        changesOf(file).map(([changed, how]) => [
          id.slice(0, 12),
          date,
          printable(author),
          changed,
          how,
          file.path,
        ]),
      ),
    );
    return { data, table: { columns: ["REVISION", "DATE", "AUTHOR", "KEY", "CHANGE", "FILE"], rows } };
  },
});

function changesOf({ changes, reencrypted, opened, problem }: FileRevision): [key: string, change: string][] {
  if (problem !== undefined) return [["", printable(problem)]];
  const rows = changes.map((change): [string, string] => [printable(change.key), changeCell(change)]);
  if (!reencrypted) return rows;
  return [
    ...rows,
    ["", opened === true ? "new data key" : "new data key: which secrets changed cannot be told"],
  ];
}
