import { exitCodes } from "@kws/base/errors";
import { expect, test } from "vitest";
import { ApiError, errorTable, toApiError } from "./errors.ts";

test("every error that people can act on has its place in the table, and keeps its exit code", () => {
  for (const code of Object.keys(exitCodes)) {
    if (code === "ok" || code === "bug") continue;
    expect(errorTable).toHaveProperty(code);
    const { exitCode } = toApiError({ code, message: "m", requestId: "r" });
    expect(exitCode, code).toBe(exitCodes[code as keyof typeof exitCodes]);
  }
});

test("an answer becomes what the server threw", () => {
  const thrown = toApiError({ code: "too-many", message: "slowly", fix: "Wait.", requestId: "r" }, 3);
  expect(thrown).toBeInstanceOf(ApiError);
  expect(thrown).toMatchObject({
    reason: "too-many",
    status: 429,
    fix: "Wait.",
    requestId: "r",
    retryAfter: 3,
  });
});

test("a code that a newer server has is a failure", () => {
  expect(toApiError({ code: "new", message: "m", requestId: "r" })).toMatchObject({
    reason: "failed",
    exitCode: 1,
  });
});
