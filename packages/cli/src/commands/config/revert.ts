import { revertConfig } from "@kws/platform/config/revert";
import { openKeys } from "@kws/platform/secrets/open";
import { defineCommand } from "../../command.ts";
import { changeCell, configurationFiles } from "../../configuration.ts";
import { profileOption, serviceArgument } from "../../profiles.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "take a change of a service's configuration back, as a commit",
  description:
    "Undoes what one revision changed in a service's configuration with a profile and keeps what came later, or goes back to how " +
    "all of it was at a revision. Either makes one commit of these files alone. Secrets are taken back value by value, and their " +
    "recipients stay as they are now; without a key that opens them the files are taken back as they stand.",
  args: [
    serviceArgument,
    { name: "revision", description: "the one to undo, as `kws config history` tells it" },
  ],
  options: {
    to: { type: "string", value: "revision", description: "go back to how it was at this revision" },
    profile: profileOption,
    reason: { type: "string", value: "text", description: "why, for the commit's message" },
    "dry-run": { type: "boolean", description: "tell what would change, and change nothing" },
  },
  examples: [
    "kws config revert orders 3f2a91c -p qa --reason 'the new pool is too small'",
    "kws config revert orders --to v1.4.0 -p production --dry-run",
  ],
  async run({ args: [service = "", undo], options }, ctx) {
    const { repository, paths, profile } = await configurationFiles(ctx, service, options.profile);
    const { to, reason } = options;
    const data = await revertConfig(repository, {
      service,
      profile,
      paths,
      dryRun: options["dry-run"] === true,
      keys: { keyring: await openKeys(ctx, ctx.signal), now: new Date(ctx.clock()) },
      ...(undo === undefined ? {} : { undo }),
      ...(to === undefined ? {} : { to }),
      ...(reason === undefined ? {} : { reason }),
    });
    if (data.files.length === 0) return { data, text: "There is nothing to take back." };
    const rows = data.files.flatMap(({ path, changes }) =>
      changes.map((change) => [printable(change.key), changeCell(change), path]),
    );
    const made =
      data.commit === undefined ? "Nothing was changed." : `Committed as ${data.commit.slice(0, 12)}.`;
    return { data, table: { columns: ["KEY", "CHANGE", "FILE"], rows }, text: made };
  },
});
