/** Private keys must not travel inside a package: it is as public as the registry that it ends in. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { ChartSource } from "./source.ts";

/** Throws `config` with the place of the first one. */
export function refusePrivateKeys({ dir, files }: ChartSource): void {
  for (const [path, content] of files) {
    refuseIn(join(dir, path), Buffer.from(content).toString("latin1"));
  }
}

const keys: [kind: string, pattern: RegExp][] = [
  ["an age identity", /AGE-(?:SECRET-KEY-(?:PQ-)?|PLUGIN-[A-Z0-9]+-)1[0-9A-Z]{20,}/i],
  ["a PGP private key", /-----BEGIN PGP PRIVATE KEY BLOCK-----/],
  ["a private key", /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/],
];

function refuseIn(path: string, text: string): void {
  for (const [kind, pattern] of keys) {
    const found = pattern.exec(text) ?? encodedKey(text, pattern);
    if (found === undefined) continue;
    const before = text.slice(0, found.index).split("\n");
    throw new UserError(`${path} holds ${kind}`, {
      code: "config",
      at: `${path}:${before.length}:${(before.at(-1) ?? "").length + 1}`,
      fix: "Take it out of the chart and, since it is in the repository, replace it by a new one.",
    });
  }
}

/** The same in base64, as a Secret's data has it. */
function encodedKey(text: string, pattern: RegExp): { index: number } | undefined {
  for (const match of text.matchAll(/LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,100}/g)) {
    if (pattern.test(Buffer.from(match[0], "base64").toString("latin1"))) return match;
  }
  return undefined;
}
