/** A commit's status, as every forge shows it beside the commit. A file for each forge says how it is written there. */
import type { Notification } from "../notification.ts";
import type { OutgoingRequest } from "../send.ts";

export interface CommitStatus {
  /** The repository, as the forge's events spell it. */
  repository: string;
  commit: string;
  outcome: Notification["outcome"];
  /** What it is the status of, such as `kws/cart`; a later one with the same name replaces it. */
  context: string;
  description: string;
  url?: string;
}

export interface ForgeAccess {
  /** Where its API is, such as `https://git.example.com/api/v1`; never taken from a delivery. */
  api: string;
  token: string;
}

export type StatusRequest = (status: CommitStatus, access: ForgeAccess) => OutgoingRequest;

/** Each part of a path on its own, so that a name with `..` or `/` leads nowhere else. */
export function apiUrl(api: string, ...parts: string[]): string {
  return [api.replace(/\/+$/, ""), ...parts.map(segment)].join("/");
}

function segment(part: string): string {
  // The one name that encoding leaves alone and that URLs resolve.
  return part === "." || part === ".." ? part.replaceAll(".", "%252E") : encodeURIComponent(part);
}

export function jsonRequest(url: string, headers: Record<string, string>, body: object): OutgoingRequest {
  return { url, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
