import type { AuditEntry } from "@kws/api/audit";
import { expect, test } from "vitest";
import { type AuditContent, ChainReader, entryHash, firstPrevious } from "./chain.ts";

function chainOf(length: number): AuditEntry[] {
  let previous = firstPrevious;
  return Array.from({ length }, (_, index) => {
    const content: AuditContent = {
      at: `2026-01-01T00:00:0${index}.000Z`,
      actor: { kind: "user", id: "u1", name: "u1@example.com" },
      action: "token.created",
      subject: `t${index}`,
      after: { role: "viewer", scope: { services: ["web"] } },
    };
    const entry = { seq: index + 1, ...content, previous, hash: entryHash(previous, content) };
    previous = entry.hash;
    return entry;
  });
}

function firstBreak(entries: AuditEntry[]) {
  const reader = new ChainReader();
  for (const entry of entries) {
    const found = reader.read(entry);
    if (found !== undefined) return found;
  }
  return undefined;
}

test("an untouched log holds together, and its head is the newest hash", () => {
  const entries = chainOf(5);
  const reader = new ChainReader();
  expect(entries.map((entry) => reader.read(entry))).toEqual(Array(5).fill(undefined));
  expect(reader.head).toBe(entries[4]?.hash);
});

test("the order of keys, and a log read from JSON, change nothing", () => {
  const [entry] = chainOf(1);
  const shuffled = Object.fromEntries(Object.entries(entry as AuditEntry).reverse()) as AuditEntry;
  expect(firstBreak([JSON.parse(JSON.stringify(shuffled)) as AuditEntry])).toBeUndefined();
});

test.each<[string, (entries: AuditEntry[]) => AuditEntry[], number]>([
  ["a changed value", (all) => all.with(2, { ...(all[2] as AuditEntry), after: { role: "admin" } }), 3],
  [
    "another actor",
    (all) =>
      all.with(1, { ...(all[1] as AuditEntry), actor: { kind: "user", id: "u2", name: "u1@example.com" } }),
    2,
  ],
  ["a removed entry", (all) => all.toSpliced(1, 1), 3],
  ["a doubled entry", (all) => all.toSpliced(2, 0, all[1] as AuditEntry), 2],
  ["swapped entries", (all) => [all[1], all[0]] as AuditEntry[], 2],
  ["a missing beginning", (all) => all.slice(1), 2],
])("%s is found", (_what, tamper, seq) => {
  expect(firstBreak(tamper(chainOf(4)))?.seq).toBe(seq);
});
