import type { AuditEntry } from "@kws/api/audit";
import { expect, test } from "vitest";
import { toCdEvent } from "./cdevents.ts";

const entry: AuditEntry = {
  seq: 7,
  at: "2026-01-01T00:00:00.000Z",
  actor: { kind: "user", id: "u1", name: "u1 of the tests" },
  action: "repository.add",
  subject: "shop",
  after: { url: "https://git.example.com/acme/shop.git", branch: "main", team: "web" },
  previous: "0".repeat(64),
  hash: "a".repeat(64),
};
const source = "https://kws.example.com";

test("what the specification has a type for gets it", () => {
  const event = toCdEvent(entry, source);
  expect(event).toMatchObject({
    specversion: "1.0",
    id: entry.hash,
    source,
    time: entry.at,
    subject: "shop",
  });
  expect(event.type).toBe("dev.cdevents.repository.created.0.2.0");
  expect(event.data.context.type).toBe(event.type);
  expect(event.data.subject).toEqual({
    id: "shop",
    source,
    type: "repository",
    content: { name: "shop", url: "https://git.example.com/acme/shop.git", owner: "web" },
  });
});

test("the rest are custom events, whose types match the specification's pattern", () => {
  const event = toCdEvent({ ...entry, action: "user.sign-in", why: "a reason" }, source);
  expect(event.type).toBe("dev.cdeventsx.kws-user.signIn.0.1.0");
  // Of custom/schema.json of the specification.
  expect(event.type).toMatch(/^dev\.cdeventsx\.[a-zA-Z0-9]+-[a-zA-Z]+\.[a-zA-Z]+\.[0-9]\.[0-9]\.[0-9]$/);
  expect(event.data.subject.content).toEqual({
    actor: "u1 of the tests",
    why: "a reason",
    after: entry.after,
  });
});
