/** `NAME… [LOCAL:]REMOTE…` as people type it: each port belongs to the service before it. */
import { UserError } from "@kws/base/errors";

export interface WantedPort {
  /** Undefined for the same number, or the next one that is free. */
  local: number | undefined;
  /** A number, or the name that the Service gives the port. */
  remote: number | string;
}

export interface WantedService {
  service: string;
  /** None for all that the service has. */
  ports: WantedPort[];
}

export function parseForwards(words: string[]): WantedService[] {
  const wanted: WantedService[] = [];
  for (const word of words) {
    const last = wanted.at(-1);
    if (!/^\d+$|:/.test(word)) wanted.push({ service: word, ports: [] });
    else if (last === undefined) {
      throw new UserError(`${word} stands before any service`, {
        code: "usage",
        fix: "Name the service first, as in `kws service forward orders 8080:80`.",
      });
    } else last.ports.push(parsePort(word));
  }
  return wanted;
}

/** `80`, `8080:80`, `8080:http`. */
export function parsePort(word: string): WantedPort {
  const match = /^(?:(\d+):)?(\d+|[a-z][a-z0-9-]*)$/.exec(word);
  const [, local, remote = ""] = match ?? [];
  const number = /^\d+$/.test(remote) ? Number(remote) : remote;
  const isPort = (port: number) => port >= 1 && port <= 65535;
  const valid =
    match !== null &&
    (local === undefined || isPort(Number(local))) &&
    (typeof number === "string" || isPort(number));
  if (!valid) {
    throw new UserError(`"${word}" is no port`, {
      code: "usage",
      fix: "Write REMOTE or LOCAL:REMOTE, such as 80, 8080:80 or 8080:http.",
    });
  }
  return { local: local === undefined ? undefined : Number(local), remote: number };
}
