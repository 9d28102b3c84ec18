import { expect, test } from "vitest";
import { scanText } from "./scan.ts";

/** Put together here, so that the repository holds nothing that looks like one. */
const token = ["gh", "p_", "0123456789abcdefghijABCDEFGHIJ012345"].join("");
const marker = ["-----BEGIN OPENSSH", "PRIVATE KEY-----"].join(" ");
const body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQy";

test("tokens and private keys are found by their form, once each, without their content", async () => {
  const text = `replicas: 1\ntoken: ${token}\nkey: |\n  ${marker}\n  ${body}\n`;
  const found = await scanText("values.yaml", text);
  expect(found).toEqual([
    { at: "values.yaml:2:8", what: "GitHub Token", certain: true },
    { at: "values.yaml:4:3", what: "private key", certain: true },
  ]);
  expect(JSON.stringify(found)).not.toContain(token.slice(4));
});

test.each([
  "password",
  "dbPassword",
  "DB_PASSWORD",
  "api-key",
  "apiKey",
  "clientSecret",
  "token",
  "sessionTokens",
])("a value named %s is suspected", async (name) => {
  const text = `database:\n  ${name}: hunter2\n`;
  expect(await scanText("values.yaml", text)).toEqual([
    {
      at: `values.yaml:2:${name.length + 5}`,
      what: `a value named ${name}`,
      key: `database.${name}`,
      certain: false,
    },
  ]);
});

test.each([
  "secretName: orders",
  "existingSecret: orders",
  "tokenUrl: https://example.com",
  "passwordFile: /run/secrets/password",
  "tokenTtl: 3600",
  "password: ''",
  "password: ${DB_PASSWORD}",
  "password: ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]",
  "passwordless: true",
  "tokens: 3",
  "monkey: banana",
  "imagePullSecrets: [registry]",
  "secrets: [REGISTRY_TOKEN]",
  "token: It is what the service sends with each request.",
])("%s is not", async (text) => {
  expect(await scanText("values.yaml", `${text}\n`)).toEqual([]);
});

test("in other files the form alone counts", async () => {
  expect(await scanText("main.ts", `const password = "hunter2";\nconst token = "${token}";\n`)).toEqual([
    { at: "main.ts:2:16", what: "GitHub Token", certain: true },
  ]);
});

test("the name of a key's armor in a program is no key", async () => {
  expect(await scanText("keys.ts", `if (text.startsWith("${marker}")) read(text);\n`)).toEqual([]);
  expect(await scanText("keys.json", `{"key": "${marker}\\n${body}"}\n`)).toHaveLength(1);
});
