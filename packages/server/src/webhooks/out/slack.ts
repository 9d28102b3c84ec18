/** Incoming webhooks of Slack, and of Mattermost and Rocket.Chat, which take the same: one line, and where to read on. */
import type { Notification } from "./notification.ts";
import type { OutgoingRequest } from "./send.ts";
import { cut, render } from "./template.ts";

/** Characters of a section's text, as api.slack.com says of Block Kit. */
const maxText = 3000;

const icons: Record<Notification["outcome"], string> = {
  running: ":hourglass_flowing_sand:",
  succeeded: ":white_check_mark:",
  failed: ":x:",
  canceled: ":no_entry_sign:",
};

export function slackRequest(url: string, notification: Notification, template: string): OutgoingRequest {
  const line = `${icons[notification.outcome]} ${render(template, notification.values, escapeSlack)}`;
  const link = notification.url === undefined ? "" : `\n<${escapeSlack(notification.url)}|Details>`;
  const text = `${cut(line, maxText - link.length)}${link}`;
  return {
    url,
    headers: { "content-type": "application/json" },
    // The text alone is what notifications of phones show.
    body: JSON.stringify({ text: line, blocks: [{ type: "section", text: { type: "mrkdwn", text } }] }),
  };
}

/** Slack's three characters; without them nobody is mentioned (`<!channel>`) and nothing linked by a branch's name. */
export function escapeSlack(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
