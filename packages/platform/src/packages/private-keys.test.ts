import { expect, test } from "vitest";
import { writeArchive } from "./archive.ts";
import { refusePrivateKeys } from "./private-keys.ts";

// Put together here, so that no scanner takes this file for one that holds keys.
const armored = (header: string) => `${header}\n  ${"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".repeat(2)}`;
const pem = (kind: string) => armored(["-----BEGIN", `${kind}PRIVATE`, "KEY-----"].join(" "));
const check = (path: string, content: string | Uint8Array) =>
  refusePrivateKeys({ dir: "/chart", files: new Map([[path, Buffer.from(content)]]) });

test.each([
  ["PKCS 8", pem("")],
  ["encrypted PKCS 8", pem("ENCRYPTED ")],
  ["RSA", pem("RSA ")],
  ["elliptic curves", pem("EC ")],
  ["OpenSSH", pem("OPENSSH ")],
  ["PGP", armored(["-----BEGIN PGP", "PRIVATE KEY BLOCK-----"].join(" "))],
  ["age", `AGE-SECRET-KEY-1${"Q".repeat(58)}`],
  ["age, post-quantum", `AGE-SECRET-KEY-PQ-1${"Q".repeat(58)}`],
  ["age, of a plugin", `AGE-PLUGIN-YUBIKEY-1${"Q".repeat(30)}`],
  ["base64", Buffer.from(pem("EC ")).toString("base64")],
  [
    "base64 in lines, as base64(1) writes them",
    Buffer.from(pem("EC ")).toString("base64").replaceAll(/.{76}/g, "$&\n  "),
  ],
])("a private key of %s is refused with its place, and not repeated", async (_, key) => {
  const error = await check("files/a.txt", `one\n  ${key}\n`).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "config", at: "/chart/files/a.txt:2:3" });
  expect(String(error)).not.toContain(key);
});

test("public keys, certificates and talk of private keys pass", async () => {
  for (const text of [
    "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PGP PUBLIC KEY BLOCK-----",
    `age1${"q".repeat(58)}`,
    "a private key stands in the Secret",
  ]) {
    expect(await check("README.md", text)).toBeUndefined();
  }
});

test("archives of other charts are looked into", async () => {
  const inner = await writeArchive(new Map([["db/key.pem", Buffer.from(pem(""))]]), 0);
  const outer = await writeArchive(new Map([["mid/charts/db-1.0.0.tgz", inner]]), 0);
  await expect(check("charts/mid-1.0.0.tgz", outer)).rejects.toMatchObject({
    at: "/chart/charts/mid-1.0.0.tgz/mid/charts/db-1.0.0.tgz/db/key.pem:1:1",
  });
  let deep: Uint8Array = Buffer.from(pem(""));
  for (let level = 0; level < 10; level++) deep = await writeArchive(new Map([["a/charts/a.tgz", deep]]), 0);
  await expect(check("charts/deep.tgz", deep)).rejects.toThrow("nested too deeply");
  await expect(check("charts/bad.tgz", "nothing")).rejects.toThrow(
    "/chart/charts/bad.tgz is not a chart archive",
  );
});
