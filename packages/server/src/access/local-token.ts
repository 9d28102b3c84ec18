/** The token of this machine: made at the first start, in a file that its owner alone reads. */
import { randomBytes } from "node:crypto";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { isErrno } from "@kws/base/errors";

export async function localToken(path: string): Promise<string> {
  const known = await readToken(path);
  if (known !== undefined) return known;
  const mine = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    await writeFile(mine, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
    // Whole, and only where there is none.
    await link(mine, path);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  } finally {
    await rm(mine, { force: true });
  }
  const token = await readToken(path);
  if (token === undefined) throw new Error(`${path} is empty`);
  return token;
}

async function readToken(path: string): Promise<string | undefined> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  });
  return text.trim() === "" ? undefined : text.trim();
}
