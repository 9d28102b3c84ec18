/**
 * Which addresses a message may be sent to. Whoever may add a channel must not reach this server's own network through it: its
 * loopback, its neighbours, or the metadata of its cloud.
 */
import { BlockList, isIP } from "node:net";
import { UserError } from "@kws/base/errors";

/** Everything in IANA's special-purpose registry that no public host answers at, and Azure's metadata beside it. */
const refused4 = listOf([
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
]);

/**
 * All but 2000::/3, and of that what carries other addresses inside: 6to4 and Teredo. A list of its own, since to Node an IPv4
 * address is in `::/3` too.
 */
const refused6 = listOf([
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
  const [refused, family] = isIP(inner) === 4 ? ([refused4, "ipv4"] as const) : ([refused6, "ipv6"] as const);
  return isIP(inner) === 0 || (refused.check(inner, family) && !allowed.check(inner, family));
}

/**
 * The IPv4 address that a mapped one (::ffff:0:0/96) or one of NAT64 (64:ff9b::/96) leads to: in networks without IPv4 every public
 * host has the latter.
 */
function embedded(address: string): string {
  if (isIP(address) !== 6) return address;
  const [bare = ""] = address.split("%");
  const groups = hextets(bare);
  const head = groups.slice(0, 6).join(":");
  if (head !== "0:0:0:0:0:ffff" && head !== "64:ff9b:0:0:0:0") return bare;
  const [high = 0, low = 0] = groups.slice(6).map((group) => Number.parseInt(group, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** The eight groups of an IPv6 address, as the URL parser writes them: lower case, without leading zeros, never dotted. */
function hextets(address: string): string[] {
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (text = "") => (text === "" ? [] : text.split(":"));
  const [before, after] = [groups(head), groups(tail)];
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => "0"), ...after];
}
