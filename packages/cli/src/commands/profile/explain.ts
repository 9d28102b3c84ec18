import { UserError } from "@kws/base/errors";
import { type Leaf, leavesAt, leavesOf } from "@kws/platform/charts/origins";
import { keyPath, parseKeyPath } from "@kws/platform/project/key-path";
import { suggest } from "@kws/platform/project/nearest";
import { defineCommand } from "../../command.ts";
import {
  cell,
  openProfile,
  profileOption,
  revealOption,
  serviceArgument,
  shortPlace,
  shower,
} from "../../profiles.ts";

export const command = defineCommand({
  summary: "where a value comes from: file, line, layer, and what it overrides",
  description:
    "Where a value comes from: file, line, layer, and what it overrides, the nearest first. The key of a mapping means all " +
    "values in it. A dot that belongs to a key has a backslash before it. Secrets are hidden.",
  args: [serviceArgument, { name: "key", description: "such as `config.LOG_LEVEL`", required: true }],
  options: { profile: profileOption, reveal: revealOption },
  examples: [
    "kws profile explain orders replicas -p qa1",
    "kws profile explain orders config -p qa1 -o json",
  ],
  async run({ args: [service = "", key = ""], options }, ctx) {
    const chart = await openProfile(ctx, service, options.profile);
    const leaves = leavesOf(chart.layers);
    const found = leavesAt(leaves, parseKeyPath(key));
    if (found.length === 0) {
      throw new UserError(`the chart of ${service} has no value "${key}" with this profile`, {
        code: "not-found",
        fix: suggest(
          key,
          leaves.map(({ keys }) => keyPath(keys)),
          "Add it to the chart's values.yaml.",
        ),
      });
    }
    const show = shower(chart, options.reveal);
    const explain = ({ keys, removed, origin, overridden }: Leaf) => ({
      key: keyPath(keys),
      removed,
      ...show(origin),
      overrides: overridden.map(show),
    });
    const data = found.map(explain);
    const rows = data.flatMap(({ overrides, ...one }) => [
      [one.key, one.removed ? "(removed)" : cell(one.value), one.profile, shortPlace(ctx, one.at)],
      ...overrides.map((other) => [
        "  overrides",
        cell(other.value),
        other.profile,
        shortPlace(ctx, other.at),
      ]),
    ]);
    return { data, table: { columns: ["KEY", "VALUE", "LAYER", "PLACE"], rows } };
  },
});
