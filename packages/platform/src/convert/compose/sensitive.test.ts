import { expect, test } from "vitest";
import { isSensitive } from "./sensitive.ts";

test.each([
  ["DB_PASSWORD", "hunter2"],
  ["MYSQL_ROOT_PASSWORD", "12345"],
  ["JWT_SECRET", "x"],
  ["SECRET_KEY_BASE", "x"],
  ["AWS_SECRET_ACCESS_KEY", "x"],
  ["API_KEY", "x"],
  ["GITHUB_TOKEN", "x"],
  ["DATABASE_URL", "postgres://app:secret@db/app"],
  ["BROKER", "amqp://:secret@rabbit"],
])("%s=%s is a secret", (name, value) => {
  expect(isSensitive(name, value)).toBe(true);
});

test.each([
  ["POSTGRES_PASSWORD_FILE", "/run/secrets/db"],
  ["ALLOW_EMPTY_PASSWORD", "yes"],
  ["TOKEN_TTL", "3600"],
  ["TOKEN_URL", "https://login.example.com/token"],
  ["DATABASE_URL", "postgres://db/app"],
  ["KEYBOARD", "qwerty"],
  ["PASSWORD", ""],
  ["LOG_LEVEL", "debug"],
])("%s=%s is none", (name, value) => {
  expect(isSensitive(name, value)).toBe(false);
});
