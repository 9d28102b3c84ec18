import { expect, test } from "vitest";
import { LastWords } from "./single-user.ts";

function explanationOf(...output: string[]): string | undefined {
  const words = new LastWords();
  for (const chunk of output) words.hear(Buffer.from(chunk));
  return words.explanation();
}

test.each([
  'error: failed switching to "postgres": operation not permitted',
  "setpriv: setresuid failed: Invalid argument",
  "setpriv: initgroups failed: Operation not permitted",
  "su-exec: setgroups: Operation not permitted",
  "su: cannot set groups: Operation not permitted",
  "runuser: cannot set user id: Invalid argument",
  'nginx: [emerg] initgroups("nginx", 101) failed (1: Operation not permitted)',
  "nginx: [emerg] setgid(101) failed (22: Invalid argument)",
  "    at process.setuid: EPERM, Operation not permitted",
])("%s is a program that wanted to become another user", (line) => {
  expect(explanationOf(`begins\n${line}\nends\n`)).toMatch(/runAsUser/);
});

test.each([
  "mkdir: cannot create directory: Operation not permitted",
  "listen: Invalid argument",
  "switching to the other server\nread: Operation not permitted",
  "the settings: Invalid argument",
])("%s is not", (text) => {
  expect(explanationOf(text)).toBeUndefined();
});

test("what was said long before the end is no reason for it, and a line may come in pieces", () => {
  const line = "su: cannot set groups: Operation not permitted\n";
  expect(explanationOf(line, "x".repeat(5000))).toBeUndefined();
  expect(explanationOf("x".repeat(5000), line.slice(0, 20), line.slice(20))).toBeDefined();
});
