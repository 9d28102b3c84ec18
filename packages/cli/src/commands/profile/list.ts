import { chartFiles, chartFolder } from "@kws/platform/charts/chart";
import { profileChain, profileNames } from "@kws/platform/charts/profiles";
import { defineCommand } from "../../command.ts";
import { projectServices, serviceArgument } from "../../profiles.ts";

interface Listed {
  profile: string;
  extends?: string;
  services: string[];
}

export const command = defineCommand({
  summary: "which profiles there are, what they extend, and whose charts have them",
  args: [{ ...serviceArgument, description: "only this service's", required: false }],
  examples: ["kws profile list", "kws profile list orders -o json"],
  async run({ args: [name] }, ctx) {
    const listed = new Map<string, Listed>();
    for (const service of await projectServices(ctx, name)) {
      const chart = await chartFolder(service);
      await chartFiles(chart);
      for (const profile of await profileNames(chart)) {
        const base = (await profileChain(chart, profile)).at(-2);
        const key = JSON.stringify([profile, base]);
        const one = listed.get(key) ?? {
          profile,
          ...(base === undefined ? {} : { extends: base }),
          services: [],
        };
        one.services.push(service.name);
        listed.set(key, one);
      }
    }
    const data = [...listed.values()].sort((a, b) => a.profile.localeCompare(b.profile));
    const rows = data.map((one) => [one.profile, one.extends ?? "", one.services.join(", ")]);
    return { data, table: { columns: ["PROFILE", "EXTENDS", "SERVICES"], rows } };
  },
});
