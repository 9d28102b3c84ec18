/** Turns the user of an image or a pod into numeric ids, with the image's own /etc/passwd and /etc/group. */
import { UserError } from "@kws/base/errors";
import type { ResolveUser } from "./image.ts";
import { readText } from "./rootfs.ts";

const isNumber = (text: string) => /^\d+$/.test(text);

/**
 * `user`, `uid`, `user:group`, `uid:gid`; empty means root. An unknown number is allowed, as in every runtime, with group
 * 0; an unknown name throws. Additional groups come from /etc/group, and only where no group is written.
 */
export const resolveUser: ResolveUser = async (layers, user) => {
  const cut = user.indexOf(":");
  const userPart = (cut === -1 ? user : user.slice(0, cut)) || "0";
  const groupPart = cut === -1 ? "" : user.slice(cut + 1);
  const [passwd, groups] = await Promise.all([rows(layers, "etc/passwd"), rows(layers, "etc/group")]);
  const byName = passwd.find(([name]) => name === userPart);
  const entry = byName ?? (isNumber(userPart) ? passwd.find((row) => row[2] === userPart) : undefined);
  if (entry === undefined && !isNumber(userPart)) throw unknown("user", userPart, "/etc/passwd");
  const uid = Number(entry?.[2] ?? userPart);
  const home = entry?.[5] || "/";
  if (groupPart !== "") {
    const group = groups.find(([name]) => name === groupPart);
    if (group === undefined && !isNumber(groupPart)) throw unknown("group", groupPart, "/etc/group");
    return { uid, gid: Number(group?.[2] ?? groupPart), additionalGids: [], home };
  }
  const gid = Number(entry?.[3] ?? 0);
  const name = entry?.[0];
  const additionalGids = groups
    .filter((row) => name !== undefined && (row[3] ?? "").split(",").includes(name))
    .map((row) => Number(row[2]))
    .filter((id) => id !== gid);
  return { uid, gid, additionalGids: [...new Set(additionalGids)], home };
};

async function rows(layers: string[], path: string): Promise<string[][]> {
  const text = (await readText(layers, path)) ?? "";
  return text
    .split("\n")
    .map((line) => line.trim().split(":"))
    .filter((row) => row.length >= 3 && isNumber(row[2] ?? ""));
}

function unknown(kind: string, name: string, file: string): UserError {
  return new UserError(`the image has no ${kind} "${name}" in its ${file}`, {
    code: "config",
    fix: `use a numeric id, or add the ${kind} to the image`,
  });
}
