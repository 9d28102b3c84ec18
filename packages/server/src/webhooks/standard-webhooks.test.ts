import { expect, test } from "vitest";
import { keyOf, signedHeaders, verifySigned } from "./standard-webhooks.ts";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const now = 1_614_265_330_000;
const id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const body = Buffer.from('{"test": 2432232314}');

test("the specification's own example is signed as it says", () => {
  expect(signedHeaders(id, now, body, secret)).toEqual({
    "webhook-id": id,
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

test("one of several signatures and secrets is enough while a secret is replaced", () => {
  const other = `whsec_${Buffer.alloc(24, 1).toString("base64")}`;
  const headers = signedHeaders(id, now, body, secret);
  const signatures = `v1a,ignored v1,AAAA ${headers["webhook-signature"]}`;
  expect(verifySigned(body, { ...headers, "webhook-signature": signatures }, [other, secret], now)).toBe(id);
});

test("another id, time or body is refused", () => {
  const headers = signedHeaders(id, now, body, secret);
  for (const changed of [{ "webhook-id": "msg_2" }, { "webhook-timestamp": "1614265331" }]) {
    expect(() => verifySigned(body, { ...headers, ...changed }, [secret], now)).toThrow("webhook-signature");
  }
  expect(() => verifySigned(Buffer.from("{}"), headers, [secret], now)).toThrow("webhook-signature");
});

test.each(["", "whsec_", "whsec_short", "no prefix", `whsec_${"A".repeat(100)}`])(
  "%j is no secret, and is not repeated in the error",
  (text) => {
    expect(() => keyOf(text)).toThrow("not a key for signatures");
  },
);
