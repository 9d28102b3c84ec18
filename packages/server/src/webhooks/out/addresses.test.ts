import { BlockList } from "node:net";
import { expect, test } from "vitest";
import { isRefused, listOf } from "./addresses.ts";

const none = new BlockList();

test.each([
  ["loopback", "127.0.0.1"],
  ["all of loopback", "127.255.0.3"],
  ["this host", "0.0.0.0"],
  ["private", "10.1.2.3"],
  ["private", "172.31.255.255"],
  ["private", "192.168.1.1"],
  ["carrier-grade NAT", "100.64.0.1"],
  ["link-local and metadata", "169.254.169.254"],
  ["Azure's metadata", "168.63.129.16"],
  ["multicast", "224.0.0.1"],
  ["broadcast", "255.255.255.255"],
  ["documentation", "203.0.113.9"],
  ["IPv6 loopback", "::1"],
  ["unspecified", "::"],
  ["unique local, with metadata", "fd00:ec2::254"],
  ["link-local", "fe80::1"],
  ["link-local with a zone", "fe80::1%eth0"],
  ["site-local", "fec0::1"],
  ["IPv6 multicast", "ff02::1"],
  ["IPv4-mapped", "::ffff:127.0.0.1"],
  ["IPv4-mapped in hexadecimal", "::ffff:a9fe:a9fe"],
  ["IPv4-mapped in full", "0:0:0:0:0:FFFF:0A00:0001"],
  ["IPv4-compatible", "::127.0.0.1"],
  ["NAT64", "64:ff9b::10.0.0.1"],
  ["NAT64 in hexadecimal", "64:ff9b::a9fe:a9fe"],
  ["local NAT64", "64:ff9b:1::8.8.8.8"],
  ["6to4", "2002:7f00:1::"],
  ["Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
  ["IPv6 documentation", "2001:db8::1"],
  ["no address at all", "example.com"],
  ["nothing", ""],
])("%s is refused: %s", (_kind, address) => {
  expect(isRefused(address, none)).toBe(true);
});

test.each(["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"])(
  "public addresses are taken: %s",
  (address) => {
    expect(isRefused(address, none)).toBe(false);
  },
);

test("a network that is allowed is taken, in every way to write its addresses, and its neighbours are not", () => {
  const allowed = listOf(["10.1.0.0/16", "fd12:3456::/32"]);
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12:3456::1"]) {
    expect(isRefused(address, allowed), address).toBe(false);
  }
  for (const address of ["10.2.0.1", "fd12:3457::1", "127.0.0.1"]) {
    expect(isRefused(address, allowed), address).toBe(true);
  }
});

test.each(["10.0.0.0", "10.0.0.0/33", "::/129", "example.com/8", "10.0.0.0/8/8", "10.0.0.0/-1", "10.0/8"])(
  "%s is not a network",
  (network) => {
    expect(() => listOf([network])).toThrow("is not a network");
  },
);
