/** What a server on this machine leaves in its folder for those who look for it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { isAlive, type ProcessIdentity } from "@kws/base/process";

export interface ServerState {
  process: ProcessIdentity;
  /** `http://host:port`. */
  url: string;
  port: number;
  /** RFC 3339. */
  startedAt: string;
  version: string;
}

export const serverFolder = (data: string): string => join(data, "server");
export const stateFile = (folder: string): string => join(folder, "server.json");
export const tokenFile = (folder: string): string => join(folder, "token");
export const logFile = (folder: string): string => join(folder, "server.log");

/** Undefined where none was ever started. */
export async function readState(folder: string): Promise<ServerState | undefined> {
  const path = stateFile(folder);
  try {
    const state = JSON.parse(await readFile(path, "utf8")) as Partial<ServerState> | null;
    if (typeof state?.process?.pid !== "number" || typeof state.url !== "string")
      throw new Error("it does not say what runs");
    return state as ServerState;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw new UserError(`${path} cannot be read: ${messageOf(error)}`, {
      fix: "Remove the file; the next start writes it anew.",
    });
  }
}

/** The state of a server that runs. */
export async function findRunning(folder: string): Promise<ServerState | undefined> {
  const state = await readState(folder);
  return state !== undefined && isAlive(state.process) ? state : undefined;
}
