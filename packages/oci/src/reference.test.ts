import { expect, test } from "vitest";
import { canonicalReference, parseReference, repositoryAddress } from "./reference.ts";

const digest = `sha256:${"a".repeat(64)}`;

test.each([
  ["orders", "orders", "latest", undefined],
  ["team/orders:1.2.0", "team/orders", "1.2.0", undefined],
  [`orders@${digest}`, "orders", undefined, digest],
  [`localhost:5000/team/orders:1@${digest}`, "localhost:5000/team/orders", "1", digest],
  ["Registry.example.com/a__b/c-d.e", "Registry.example.com/a__b/c-d.e", "latest", undefined],
])("%s is read", (text, name, tag, digest) => {
  expect(parseReference(text)).toEqual({ name, tag, digest });
});

test.each([
  "",
  "UPPER",
  "a//b",
  "a:",
  "a@sha256:short",
  "a b",
  "-a",
  "a/../b",
  "https://a/b",
  `a:${"t".repeat(129)}`,
])("%j is refused", (text) => {
  expect(() => parseReference(text)).toThrow("is not an image reference");
});

test("a reference has one canonical spelling", () => {
  expect(canonicalReference("orders")).toBe("orders:latest");
  expect(canonicalReference(`orders@${digest}`)).toBe(`orders@${digest}`);
});

test("the first component is a registry where it looks like a host", () => {
  for (const host of [
    "registry.example.com",
    "registry.example.com:8443",
    "localhost",
    "localhost:5000",
    "127.0.0.1:1",
  ]) {
    const address = { host, path: "team/orders", address: host, credentials: host };
    expect(repositoryAddress(`${host}/team/orders`)).toEqual(address);
  }
});

test("without a host it is the one registry that has none in its names, which keeps its own in a namespace", () => {
  const one = repositoryAddress("orders");
  expect(one.path).toBe("library/orders");
  expect(repositoryAddress("team/orders").path).toBe("team/orders");
  expect(repositoryAddress(`${one.host}/orders`)).toEqual(one);
  expect(new Set([one.host, one.address, one.credentials]).size).toBe(3);
});
