/** The servers that the person at this machine has signed in to, with their tokens, in a file that its owner alone can read. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";

export interface Logins {
  /** The address of the server that commands use. */
  current?: string;
  /** By address. */
  tokens: Record<string, string>;
}

const fileOf = (data: string): string => join(data, "logins.json");

export async function readLogins(data: string): Promise<Logins> {
  const path = fileOf(data);
  try {
    const { current, tokens } = JSON.parse(await readFile(path, "utf8")) as Partial<Logins>;
    return { tokens: tokens ?? {}, ...(current === undefined ? {} : { current }) };
  } catch (error) {
    if (isErrno(error, "ENOENT")) return { tokens: {} };
    // A parser's message may quote what it read.
    const why = error instanceof SyntaxError ? "it is not JSON" : messageOf(error);
    throw new UserError(`${path} cannot be read: ${why}`, {
      fix: "Remove it, and sign in with `kws login`.",
    });
  }
}

/** From now on commands use this server. */
export async function addLogin(data: string, url: string, token: string): Promise<void> {
  const { tokens } = await readLogins(data);
  await write(data, { current: url, tokens: { ...tokens, [url]: token } });
}

/** Where commands used this server, they use the one of this machine again. */
export async function removeLogin(data: string, url: string): Promise<void> {
  const { current, tokens } = await readLogins(data);
  const { [url]: _removed, ...kept } = tokens;
  await write(data, { tokens: kept, ...(current === undefined || current === url ? {} : { current }) });
}

async function write(data: string, logins: Logins): Promise<void> {
  await makeFolder(data, { mode: 0o700, fix: "Set KWS_HOME to a folder that can be written." });
  await replaceFile(fileOf(data), `${JSON.stringify(logins, undefined, 2)}\n`, { mode: 0o600 });
}
