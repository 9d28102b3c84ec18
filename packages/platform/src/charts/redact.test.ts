import { expect, test } from "vitest";
import { openLayers, type OpenLayer } from "./layers.ts";
import { redactManifests, redactor, redactValues } from "./redact.ts";

function layersOf(values: string, secrets: unknown): Promise<OpenLayer[]> {
  return openLayers(
    [
      { name: "defaults", kind: "defaults", file: "values.yaml", text: values },
      { name: "qa", kind: "secrets", file: "secrets.yaml", text: "encrypted: 1\n" },
    ],
    () => Promise.resolve(secrets),
  );
}

async function hiding(secrets: unknown): Promise<ReturnType<typeof redactor>> {
  return redactor(await layersOf("", secrets));
}

test("a secret is hidden wherever and however it is written", async () => {
  const hide = await hiding({ db: { password: 's3cr"t/x' }, keys: ["-----BEGIN\nKEY-----"] });
  const url = `postgres://u:${encodeURIComponent('s3cr"t/x')}@h`;
  expect(hide.text(url)).toBe("postgres://u:<redacted>@h");
  expect(hide.text(JSON.stringify({ a: 's3cr"t/x' }))).toBe('{"a":"<redacted>"}');
  expect(hide.text(Buffer.from("-----BEGIN\nKEY-----").toString("base64"))).toBe("<redacted>");
  expect(hide.text("x: |\n    -----BEGIN\n    KEY-----\n")).toBe("x: |\n    <redacted>\n    <redacted>\n");
  expect(hide.value({ a: ["-----BEGIN\nKEY-----"], b: "plain", c: null })).toEqual({
    a: ["<redacted>"],
    b: "plain",
    c: null,
  });
});

test.each([
  ["urlquery", "p%40ss+w%28o%29rd%21%3C%26%3E%2A%27"],
  ["toJson", String.raw`p@ss w(o)rd!\u003c\u0026\u003e*'`],
  ["trim | b64enc", Buffer.from("two\nlines").toString("base64")],
])("a secret is hidden as a template writes it with %s", async (_function, written) => {
  const hide = await hiding({ password: "p@ss w(o)rd!<&>*'", key: "two\nlines\n" });
  expect(hide.text(`x=${written};`)).toBe("x=<redacted>;");
});

test("a secret that is no well-formed text is hidden", async () => {
  expect((await hiding({ password: "lone\ud800" })).text("x=lone\ud800")).toBe("x=<redacted>");
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

test("merged values hide what secrets give, whatever it is, and what equals it elsewhere", async () => {
  const values =
    "url: postgres://canary-1\nlist: [canary-1]\ndb: { host: x, tls: true, ports: [1] }\nsame: 17\n";
  const layers = await layersOf(values, { password: "canary-1", db: { tls: false, ports: [2] }, pin: 17 });
  expect(redactValues(layers)).toEqual({
    url: "postgres://<redacted>",
    list: ["<redacted>"],
    db: { host: "x", tls: "<redacted>", ports: "<redacted>" },
    same: "<redacted>",
    password: "<redacted>",
    pin: "<redacted>",
  });
});

test("manifests hide what Secrets hold and every secret elsewhere, and keep the rest as it is", async () => {
  const layers = await layersOf("", { token: "canary-1", key: "canary-2\nmore", user: "admin" });
  const manifests = `# Source: api/templates/all.yaml, canary-1
apiVersion: v1
kind: Secret
metadata: { name: api }
data:
  other: aGVsbG8=
stringData:
  multi: |
    line
---
apiVersion: v1
kind: List
items:
  - kind: Secret
    data: { inner: aGVsbG8= }
  - kind: ConfigMap
    data:
      octal: "0644"
      url: http://admin:canary-1@host
      key: |
        canary-2
        more
      encoded: ${Buffer.from("canary-1").toString("base64")}
`;
  const text = redactManifests(manifests, layers);
  expect(text).not.toMatch(/canary|aGVsbG8|line$|admin/m);
  expect(text).not.toContain(Buffer.from("canary-1").toString("base64"));
  expect(text).toContain('octal: "0644"');
  expect(text).toContain("url: http://<redacted>:<redacted>@host");
  expect(text).toContain("# Source: api/templates/all.yaml, <redacted>");
});
