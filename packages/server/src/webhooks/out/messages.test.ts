import { expect, test } from "vitest";
import { verifySigned } from "../standard-webhooks.ts";
import { pauseAfter } from "./backoff.ts";
import { emailOf } from "./email.ts";
import type { Notification } from "./notification.ts";
import { slackRequest } from "./slack.ts";
import { checkTemplate, render } from "./template.ts";
import { webhookRequest } from "./webhook.ts";

const notification: Notification = {
  id: "msg_1",
  type: "run.failed",
  time: "2026-09-21T10:00:00Z",
  outcome: "failed",
  values: { service: "cart", branch: "<!channel> & co", step: "test" },
  url: "https://kws.example.com/runs/1",
};

test("a template puts values in, and nothing else happens", () => {
  const values = { service: "cart", branch: "{{service}}" };
  expect(render("{{service}} on {{ branch }}{{missing}}", values, (text) => `<${text}>`)).toBe(
    "<cart> on <{{service}}>",
  );
  expect(render("{{constructor}}{{__proto__}}", values, String)).toBe("");
});

test("a template with a name that no message has is refused", () => {
  expect(() => checkTemplate("{{service}} {{servise}}", ["service"])).toThrow('no "servise"');
  expect(() => checkTemplate("{{service}} {x}", ["service"])).not.toThrow();
});

test("in Slack a branch's name mentions nobody and links nowhere", () => {
  const { body } = slackRequest("https://hooks.example.com/T0", notification, "{{service}}: {{branch}}");
  const message = JSON.parse(body) as { text: string; blocks: { text: { text: string } }[] };
  expect(message.text).toBe(":x: cart: &lt;!channel&gt; &amp; co");
  expect(message.blocks[0]?.text.text).toContain("<https://kws.example.com/runs/1|Details>");
});

test("a long message is cut where Slack would refuse it, and keeps its link", () => {
  const long = { ...notification, values: { branch: "b".repeat(5000) } };
  const { body } = slackRequest("https://hooks.example.com/T0", long, "{{branch}}");
  const [block] = (JSON.parse(body) as { blocks: { text: { text: string } }[] }).blocks;
  expect(block?.text.text).toHaveLength(3000);
  expect(block?.text.text).toMatch(/…\n<https:.*\|Details>$/);
});

test("a webhook is signed for its receiver, and keeps its id when it is sent again", () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const first = webhookRequest("https://example.com", notification, secret, 1_000_000);
  const second = webhookRequest("https://example.com", notification, secret, 2_000_000);
  expect(second.body).toBe(first.body);
  for (const [request, now] of [
    [first, 1_000_000],
    [second, 2_000_000],
  ] as const) {
    expect(verifySigned(Buffer.from(request.body), request.headers, [secret], now)).toBe("msg_1");
  }
  expect(JSON.parse(first.body)).toEqual({
    type: "run.failed",
    timestamp: "2026-09-21T10:00:00Z",
    data: { outcome: "failed", url: "https://kws.example.com/runs/1", values: notification.values },
  });
});

test("an e-mail has the first line as its subject, whatever a value holds", () => {
  const email = emailOf(
    { ...notification, values: { service: "cart\r\nBcc: all@example.com" } },
    ["team@example.com"],
    "{{service}} failed",
  );
  expect(email.subject).toBe("cart");
  expect(email.text).toBe("cart\r\nBcc: all@example.com failed\n\nhttps://kws.example.com/runs/1\n");
});

test("pauses grow, are never shorter than asked for, and end", () => {
  expect(pauseAfter(1, 0)).toBe(5000);
  expect(pauseAfter(1, 1)).toBe(6250);
  expect(pauseAfter(1, 0, 60_000)).toBe(60_000);
  expect(pauseAfter(2, 0)).toBeGreaterThan(5000);
  expect(pauseAfter(9, 0)).toBeUndefined();
  expect(pauseAfter(1, 0, 7 * 86_400_000)).toBeUndefined();
});
