import { isDeepStrictEqual } from "node:util";
import { exitCodes } from "@kws/base/errors";
import { leavesOf } from "@kws/platform/charts/origins";
import { keyPath } from "@kws/platform/project/key-path";
import { defineCommand } from "../../command.ts";
import {
  cell,
  openProfiles,
  type Place,
  revealOption,
  serviceArgument,
  shortPlace,
  shower,
} from "../../profiles.ts";

/** A side without the value is undefined, and has no key in JSON. */
interface Difference {
  key: string;
  a: Place | undefined;
  b: Place | undefined;
}

export const command = defineCommand({
  summary: "what differs between two profiles of a chart, key by key",
  description:
    "What differs between two profiles of a chart, key by key, with the place of each value. Secrets are compared and hidden. " +
    "Exits with 0 where nothing differs, and with 1 where something does.",
  args: [
    serviceArgument,
    { name: "a", description: "a profile", required: true, completes: "profiles" },
    { name: "b", description: "another one", required: true, completes: "profiles" },
  ],
  options: { reveal: revealOption },
  examples: ["kws profile diff orders qa production", "kws profile diff orders qa qa1 -o json"],
  async run({ args: [service = "", ...names], options }, ctx) {
    const charts = await openProfiles(ctx, service, names);
    const sides = charts.map((chart) => ({
      show: shower(chart, options.reveal),
      origins: new Map(
        leavesOf(chart.layers)
          .filter(({ removed }) => !removed)
          .map(({ keys, origin }) => [keyPath(keys), origin]),
      ),
    }));
    const differing = [...new Set(sides.flatMap(({ origins }) => [...origins.keys()]))].filter((key) => {
      const [a, b] = sides.map(({ origins }) => origins.get(key));
      return a === undefined || b === undefined || !isDeepStrictEqual(a.value, b.value);
    });
    const data = differing.map((key): Difference => {
      const [a, b] = sides.map(({ origins, show }) => {
        const origin = origins.get(key);
        return origin === undefined ? undefined : show(origin);
      });
      return { key, a, b };
    });
    const told = (place: Place | undefined) =>
      place === undefined ? ["", ""] : [cell(place.value), shortPlace(ctx, place.at)];
    if (data.length === 0) return { data, text: `${names.join(" and ")} give the same values.` };
    const columns = ["KEY", ...names.flatMap((name) => [name.toUpperCase(), "PLACE"])];
    const rows = data.map(({ key, a, b }) => [key, ...told(a), ...told(b)]);
    return { data, table: { columns, rows }, exitCode: exitCodes.failed };
  },
});
