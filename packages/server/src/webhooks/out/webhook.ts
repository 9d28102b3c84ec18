/** Webhooks for programs: the message as it is, signed as Standard Webhooks says. */
import { signedHeaders } from "../standard-webhooks.ts";
import type { Notification } from "./notification.ts";
import type { OutgoingRequest } from "./send.ts";

/** Signed anew for each attempt, at `now` in milliseconds; the id stays. */
export function webhookRequest(
  url: string,
  { id, type, time, outcome, values, url: page }: Notification,
  secret: string,
  now: number,
): OutgoingRequest {
  const data = { outcome, ...(page === undefined ? {} : { url: page }), values };
  const body = JSON.stringify({ type, timestamp: time, data });
  return {
    url,
    headers: { "content-type": "application/json", ...signedHeaders(id, now, body, secret) },
    body,
  };
}
