/** Types that Kubernetes adds to expressions: URLs, quantities, and addresses of networks. */
import { BlockList, isIP } from "node:net";
import type { Environment } from "@marcbachmann/cel-js";
import { isQuantity, parseQuantity, toQuantity } from "@kws/kube/quantity";

export function addKubernetesTypes(environment: Environment): void {
  addUrls(environment);
  addQuantities(environment);
  addAddresses(environment);
}

class Url {
  readonly value: URL;
  readonly absolute: boolean;
  constructor(text: string) {
    this.absolute = !text.startsWith("/");
    if (!isUrl(text))
      throw new Error(`URL parse error during conversion from string: parse "${text}": invalid URI`);
    this.value = new URL(text, "http://localhost");
  }
  /** Of a part that a path alone does not have. */
  part(read: (url: URL) => string): string {
    return this.absolute ? read(this.value) : "";
  }
}

function isUrl(text: string): boolean {
  return text.startsWith("/") || URL.canParse(text);
}

function addUrls(environment: Environment): void {
  environment
    .registerType("kubernetes.URL", { ctor: Url, fields: {} })
    .registerFunction("url(string): kubernetes.URL", (text: string) => new Url(text))
    .registerFunction("isURL(string): bool", isUrl)
    .registerFunction("kubernetes.URL.getScheme(): string", (url: Url) =>
      url.part((one) => one.protocol.slice(0, -1)),
    )
    .registerFunction("kubernetes.URL.getHost(): string", (url: Url) => url.part((one) => one.host))
    .registerFunction("kubernetes.URL.getHostname(): string", (url: Url) =>
      url.part((one) => one.hostname.replaceAll(/^\[|\]$/g, "")),
    )
    .registerFunction("kubernetes.URL.getPort(): string", (url: Url) => url.part((one) => one.port))
    .registerFunction("kubernetes.URL.getEscapedPath(): string", (url: Url) => url.value.pathname)
    .registerFunction("kubernetes.URL.getQuery(): map<string, list<string>>", ({ value }: Url) => {
      const { searchParams } = value;
      return new Map([...new Set(searchParams.keys())].map((key) => [key, searchParams.getAll(key)]));
    });
}

const one = 1_000_000_000n;

class Amount {
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    this.nanos = nanos;
  }
}

function addQuantities(environment: Environment): void {
  const type = "kubernetes.Quantity";
  environment
    .registerType(type, { ctor: Amount, fields: {} })
    .registerFunction(`quantity(string): ${type}`, (text: string) => new Amount(toQuantity(text).nanos))
    .registerFunction("isQuantity(string): bool", isQuantity)
    .registerFunction(`${type}.sign(): int`, ({ nanos }: Amount) => (nanos > 0n ? 1n : nanos < 0n ? -1n : 0n))
    .registerFunction(`${type}.isInteger(): bool`, ({ nanos }: Amount) => nanos % one === 0n)
    .registerFunction(`${type}.asInteger(): int`, ({ nanos }: Amount) => {
      if (nanos % one !== 0n) throw new Error("cannot convert value to integer");
      return nanos / one;
    })
    .registerFunction(`${type}.asApproximateFloat(): double`, ({ nanos }: Amount) =>
      parseQuantity(`${nanos}n`),
    )
    .registerFunction(
      `${type}.add(${type}): ${type}`,
      (a: Amount, b: Amount) => new Amount(a.nanos + b.nanos),
    )
    .registerFunction(`${type}.add(int): ${type}`, (a: Amount, b: bigint) => new Amount(a.nanos + b * one))
    .registerFunction(
      `${type}.sub(${type}): ${type}`,
      (a: Amount, b: Amount) => new Amount(a.nanos - b.nanos),
    )
    .registerFunction(`${type}.sub(int): ${type}`, (a: Amount, b: bigint) => new Amount(a.nanos - b * one))
    .registerFunction(`${type}.isLessThan(${type}): bool`, (a: Amount, b: Amount) => a.nanos < b.nanos)
    .registerFunction(`${type}.isGreaterThan(${type}): bool`, (a: Amount, b: Amount) => a.nanos > b.nanos)
    .registerFunction(`${type}.compareTo(${type}): int`, (a: Amount, b: Amount) =>
      a.nanos < b.nanos ? -1n : a.nanos > b.nanos ? 1n : 0n,
    )
    .registerOperator(`${type} == ${type}`, (a: Amount, b: Amount) => a.nanos === b.nanos);
}

class Address {
  readonly text: string;
  readonly family: 4 | 6;
  constructor(text: string) {
    const family = isIP(text);
    if (family === 0 || text.includes("%"))
      throw new Error(`IP Address "${text}" parse error during conversion from string`);
    this.text = text;
    this.family = family === 4 ? 4 : 6;
  }
  within(...networks: string[]): boolean {
    return networks.some((network) => new Network(network).contains(this));
  }
}

class Network {
  readonly address: Address;
  readonly length: number;
  readonly #block = new BlockList();
  constructor(text: string) {
    const [address = "", length = ""] = text.split("/");
    this.address = new Address(address);
    this.length = Number(length);
    if (!/^\d{1,3}$/.test(length) || this.length > (this.address.family === 4 ? 32 : 128)) {
      throw new Error(`network address parse error during conversion from string: invalid CIDR "${text}"`);
    }
    this.#block.addSubnet(address, this.length, this.address.family === 4 ? "ipv4" : "ipv6");
  }
  contains({ text, family }: Address): boolean {
    return family === this.address.family && this.#block.check(text, family === 4 ? "ipv4" : "ipv6");
  }
}

function parses(make: (text: string) => unknown): (text: string) => boolean {
  return (text) => {
    try {
      make(text);
      return true;
    } catch {
      // What cannot be made of the text is the answer.
      return false;
    }
  };
}

function addAddresses(environment: Environment): void {
  const makeAddress = (text: string): Address => new Address(text);
  const makeNetwork = (text: string): Network => new Network(text);
  const containsNetwork = (outer: Network, inner: Network): boolean =>
    inner.length >= outer.length && outer.contains(inner.address);
  const special = (name: string, ...networks: string[]): unknown =>
    environment.registerFunction(`net.IP.${name}(): bool`, (address: Address) => address.within(...networks));
  environment
    .registerType("net.IP", { ctor: Address, fields: {} })
    .registerType("net.CIDR", { ctor: Network, fields: {} })
    .registerFunction("ip(string): net.IP", makeAddress)
    .registerFunction("isIP(string): bool", parses(makeAddress))
    .registerFunction("net.IP.family(): int", ({ family }: Address) => BigInt(family))
    .registerFunction("string(net.IP): string", ({ text }: Address) => text)
    .registerFunction("cidr(string): net.CIDR", makeNetwork)
    .registerFunction("isCIDR(string): bool", parses(makeNetwork))
    .registerFunction("net.CIDR.ip(): net.IP", ({ address }: Network) => address)
    .registerFunction("net.CIDR.prefixLength(): int", ({ length }: Network) => BigInt(length))
    .registerFunction("net.CIDR.containsIP(net.IP): bool", (network: Network, address: Address) =>
      network.contains(address),
    )
    .registerFunction("net.CIDR.containsIP(string): bool", (network: Network, text: string) =>
      network.contains(new Address(text)),
    )
    .registerFunction("net.CIDR.containsCIDR(net.CIDR): bool", containsNetwork)
    .registerFunction("net.CIDR.containsCIDR(string): bool", (network: Network, text: string) =>
      containsNetwork(network, new Network(text)),
    );
  special("isUnspecified", "0.0.0.0/32", "::/128");
  special("isLoopback", "127.0.0.0/8", "::1/128");
  special("isLinkLocalUnicast", "169.254.0.0/16", "fe80::/10");
  special("isLinkLocalMulticast", "224.0.0.0/24", "ff02::/16");
}
