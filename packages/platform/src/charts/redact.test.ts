import { expect, test } from "vitest";
import { openLayers } from "./layers.ts";
import { redactor } from "./redact.ts";

async function hiding(secrets: unknown): Promise<ReturnType<typeof redactor>> {
  const layer = { name: "qa", kind: "secrets" as const, file: "secrets.yaml", text: "encrypted: 1\n" };
  return redactor(await openLayers([layer], () => Promise.resolve(secrets)));
}

test("a secret is hidden wherever and however it is written", async () => {
  const hide = await hiding({ db: { password: 's3cr"t/x' }, keys: ["-----BEGIN\nKEY-----"] });
  const url = `postgres://u:${encodeURIComponent('s3cr"t/x')}@h`;
  expect(hide.text(url)).toBe("postgres://u:<redacted>@h");
  expect(hide.text(JSON.stringify({ a: 's3cr"t/x' }))).toBe('{"a":"<redacted>"}');
  expect(hide.text(Buffer.from("-----BEGIN\nKEY-----").toString("base64"))).toBe("<redacted>");
  expect(hide.value({ a: ["-----BEGIN\nKEY-----"], b: "plain", c: null })).toEqual({
    a: ["<redacted>"],
    b: "plain",
    c: null,
  });
});

test("a short secret is hidden where it is the whole text, and a number where it is equal", async () => {
  const hide = await hiding({ pin: "42", port: 5432, flag: true, empty: "" });
  expect(hide.value({ pin: "42", port: 5432, flag: true, empty: "", other: "142" })).toEqual({
    pin: "<redacted>",
    port: "<redacted>",
    flag: true,
    empty: "",
    other: "142",
  });
});

test("a secret within a longer one leaves nothing of it", async () => {
  const hide = await hiding({ a: "secret", b: "secret-and-more" });
  expect(hide.text("x=secret-and-more")).toBe("x=<redacted>");
});
