import { exitCodes } from "@kws/base/errors";
import { openKeys } from "@kws/platform/secrets/open";
import { isCertain, secretsReport } from "@kws/platform/secrets/report";
import { defineCommand } from "../../command.ts";
import { shortPlace } from "../../profiles.ts";
import { foldersOf, keyAge } from "../../secrets.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "who can open which secrets, and what should be mended",
  description:
    "Looks at all files that git has or would add: who can open each encrypted file and since when, recipients that the creation " +
    "rules no longer name or do not have yet, files that should be encrypted and are not, and what looks like a secret in plain " +
    "files. Exits with 0 where there is nothing to mend and with 3 where there is; suspicions by a key's name alone do not count.",
  args: [{ name: "folders", description: "the workspace and its services unless given", variadic: true }],
  options: {
    verify: { type: "boolean", description: "decrypt in memory what your keys open, and check the MACs" },
    "max-age": {
      type: "duration",
      value: "duration",
      description: "data keys that are older are to be rotated",
    },
  },
  examples: [
    "kws secrets report",
    "kws secrets report ~/src/shop ~/src/billing --verify --max-age 365d -o json",
  ],
  async run({ args, options }, ctx) {
    const maxAge = options["max-age"];
    const data = await secretsReport({
      folders: await foldersOf(ctx, args),
      env: ctx.childEnv,
      signal: ctx.signal,
      now: new Date(ctx.clock()),
      ...(maxAge === undefined ? {} : { maxAge }),
      ...(options.verify === true ? { verify: { keyring: await openKeys(ctx, ctx.signal) } } : {}),
    });
    const rows = data.files.map((one) => [
      printable(shortPlace(ctx, one.file)),
      one.format,
      keyAge(ctx, one),
      one.mac,
      one.recipients.join(", "),
    ]);
    const told = data.findings.map(({ at, message }) => printable(`${shortPlace(ctx, at)}: ${message}`));
    const isClean = !data.findings.some(isCertain);
    return {
      data,
      ...(rows.length === 0
        ? {}
        : { table: { columns: ["FILE", "FORMAT", "KEY AGE", "MAC", "RECIPIENTS"], rows } }),
      text: told.length === 0 ? "There is nothing to mend." : told.join("\n"),
      exitCode: isClean ? exitCodes.ok : exitCodes.degraded,
    };
  },
});
