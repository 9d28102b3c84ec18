/** How one value inside a configuration is named: as for Helm's `--set`, so that a key can be pasted there. */
import { UserError } from "@kws/base/errors";

export type KeyPath = (string | number)[];

/** `["hosts", 0, "example.com"]` → `hosts[0].example\.com`. */
export function keyPath(path: KeyPath): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      return `${index === 0 ? "" : "."}${part.replaceAll(/[\\.[\],=]/g, String.raw`\$&`)}`;
    })
    .join("");
}

/** The reverse of `keyPath`; also takes keys as sops writes them, `["hosts"][0]["example.com"]`. Throws a `usage` error for what is not a key. */
export function parseKeyPath(text: string): KeyPath {
  const path: KeyPath = [];
  const token = /\[(?:(\d+)|(["'])(.+?)\2)\]|(?:^|(?<=.)\.)((?:\\.|[^\\.[\]])+)/gy;
  let at = 0;
  while (at < text.length) {
    const match = token.exec(text);
    if (match === null) break;
    at = token.lastIndex;
    const [, index, , quoted, name = ""] = match;
    path.push(index === undefined ? (quoted ?? name.replaceAll(/\\(.)/g, "$1")) : Number(index));
  }
  if (at < text.length || path.length === 0) {
    throw new UserError(`"${text}" is not a key`, {
      code: "usage",
      fix: String.raw`Write it as for helm's --set: image.tag, hosts[0], labels.example\.com/team.`,
    });
  }
  return path;
}
