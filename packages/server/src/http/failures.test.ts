import { ApiError } from "@kws/api/errors";
import { UserError } from "@kws/base/errors";
import { expect, test } from "vitest";
import { describeFailure } from "./failures.ts";

test("what people can mend is told with its fix", () => {
  const thrown = new UserError("there is no repository", { code: "not-found", fix: "Add it." });
  expect(describeFailure(thrown, "r")).toEqual({
    status: 404,
    body: { code: "not-found", message: "there is no repository", fix: "Add it.", requestId: "r" },
    bug: false,
  });
  expect(describeFailure(new ApiError("too-many", "slowly", { retryAfter: 2 }), "r")).toMatchObject({
    status: 429,
    retryAfter: 2,
  });
});

test("a bug is not told, but for the id under which the log has it", () => {
  const { status, body, bug } = describeFailure(new TypeError("password hunter2"), "r");
  expect({ status, bug, id: body.requestId }).toEqual({ status: 500, bug: true, id: "r" });
  expect(JSON.stringify(body)).not.toContain("hunter2");
});

test.each(["ECONNREFUSED", "57P01", "08006"])("a database that is away (%s) is no bug", (code) => {
  const { status, retryAfter } = describeFailure(Object.assign(new Error("away"), { code }), "r");
  expect({ status, retryAfter }).toEqual({ status: 503, retryAfter: 2 });
});
