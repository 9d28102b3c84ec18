/**
 * Which addresses a message may be sent to. Whoever may add a channel must not reach this server's own network through it: its
 * loopback, its neighbours, or the metadata of its cloud.
 */
import { BlockList, isIP, SocketAddress } from "node:net";
import { UserError } from "@kws/base/errors";

/** Everything in IANA's special-purpose registries that no public host answers at, and Azure's metadata beside it. */
const refused = listOf([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "168.63.129.16/32",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
  // Of IPv6, only 2000::/3 is public at all; of that, 6to4 and Teredo carry other addresses inside.
  "::/3",
  "4000::/2",
  "8000::/1",
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "3fff::/20",
]);

/** Networks, as in `10.0.0.0/8`. Throws a `config` `UserError` for anything else. */
export function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", prefix = "", ...rest] = network.split("/");
    const family = isIP(address);
    const bits = Number(prefix);
    if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(prefix) || bits > (family === 4 ? 32 : 128)) {
      throw new UserError(`"${network}" is not a network`, {
        code: "config",
        fix: "Write it like 10.0.0.0/8.",
      });
    }
    list.addSubnet(address, bits, family === 4 ? "ipv4" : "ipv6");
  }
  return list;
}

/** Whether nothing may be sent to an address, unless the networks that are allowed hold it. */
export function isRefused(address: string, allowed: BlockList): boolean {
  const inner = embedded(address);
  const family = isIP(inner) === 4 ? "ipv4" : "ipv6";
  return isIP(inner) === 0 || (refused.check(inner, family) && !allowed.check(inner, family));
}

/**
 * The IPv4 address that a mapped one (::ffff:0:0/96) or one of NAT64 (64:ff9b::/96) leads to: in networks without IPv4 every public
 * host has the latter.
 */
function embedded(address: string): string {
  if (isIP(address) !== 6) return address;
  const [bare = ""] = address.split("%");
  const canonical = new SocketAddress({ address: bare, family: "ipv6" }).address;
  const groups = hextets(canonical);
  const head = groups.slice(0, 6).join(":");
  if (head !== "0:0:0:0:0:65535" && head !== "100:65435:0:0:0:0") return bare;
  const [high = 0, low = 0] = groups.slice(6);
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** The eight groups of an IPv6 address, as numbers. */
function hextets(address: string): number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...bytes: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [before = "", after] = hex.split("::");
  const groups = (text: string) =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [head, tail] = [groups(before), groups(after ?? "")];
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail];
}
