/** Endpoints and EndpointSlices. */
import type { StatusCause } from "@kws/kube/status";
import { immutable, invalid, oneOf, required, tooMany } from "./cause.ts";
import { list } from "./loose.ts";
import { checkDns1123Label } from "./names.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn } from "./table.ts";

const shown = 3;

function firstFew(items: string[], none = "<none>"): string {
  if (items.length === 0) return none;
  const few = items.slice(0, shown).join(",");
  return items.length > shown ? `${few} + ${items.length - shown} more...` : few;
}

export const endpoints: ResourceDefinition = define(
  { group: "", kind: "Endpoints", resource: "endpoints", singular: "endpoints" },
  {
    shortNames: ["ep"],
    setDefaults(object) {
      for (const subset of list(object["subsets"])) {
        for (const port of list(subset["ports"])) port["protocol"] ||= "TCP";
      }
    },
    validate(object) {
      return list(object["subsets"]).flatMap((subset, index) => {
        const path = `subsets[${index}]`;
        const addresses = [...list(subset["addresses"]), ...list(subset["notReadyAddresses"])];
        return addresses.length === 0
          ? [required(path, "must specify `addresses` or `notReadyAddresses`")]
          : [
              validateAddresses(`${path}.addresses`, list(subset["addresses"])),
              validateAddresses(`${path}.notReadyAddresses`, list(subset["notReadyAddresses"])),
              validatePorts(`${path}.ports`, list(subset["ports"])),
            ].flat();
      });
    },
    columns: [nameColumn, column("Endpoints", "Addresses and ports that back the Service."), ageColumn],
    row(object, now) {
      const pairs = list(object["subsets"]).flatMap((subset) => {
        const addresses = list(subset["addresses"]).map(({ ip }) => String(ip));
        const ports = list(subset["ports"]);
        return ports.length === 0
          ? addresses
          : ports.flatMap(({ port }) =>
              addresses.map((ip) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`)),
            );
      });
      return [object.metadata.name, firstFew(pairs), age(object, now)];
    },
  },
);

const ipv4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;

function validateAddresses(path: string, addresses: Fields[]): StatusCause[] {
  return addresses.flatMap((address, index) => {
    const ip = String(address["ip"] ?? "");
    return ipv4.test(ip) || ip.includes(":")
      ? []
      : [
          invalid(
            `${path}[${index}].ip`,
            ip,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
          ),
        ];
  });
}

function validatePorts(path: string, ports: Fields[]): StatusCause[] {
  return ports.flatMap((port, index) => [
    ...(ports.length > 1 && !port["name"] ? [required(`${path}[${index}].name`)] : []),
    ...(port["name"]
      ? checkDns1123Label(String(port["name"])).map((detail) =>
          invalid(`${path}[${index}].name`, port["name"], detail),
        )
      : []),
    ...oneOf(`${path}[${index}].protocol`, port["protocol"], ["TCP", "UDP", "SCTP"]),
    ...(Number(port["port"]) >= 1 && Number(port["port"]) <= 65535
      ? []
      : [invalid(`${path}[${index}].port`, port["port"] ?? 0, "must be between 1 and 65535, inclusive")]),
  ]);
}

export const endpointSlice: ResourceDefinition = define(
  { group: "discovery.k8s.io", kind: "EndpointSlice", resource: "endpointslices" },
  {
    setDefaults(object) {
      for (const port of list(object["ports"])) {
        port["name"] ??= "";
        port["protocol"] ||= "TCP";
      }
    },
    validate(object, old) {
      const slice = list(object["endpoints"]);
      return [
        ...oneOf("addressType", object["addressType"], ["FQDN", "IPv4", "IPv6"]),
        ...(slice.length > 1000 ? [tooMany("endpoints", slice.length, 1000)] : []),
        ...slice.flatMap((endpoint, index) => {
          const addresses: unknown[] = endpoint["addresses"] ?? [];
          const path = `endpoints[${index}].addresses`;
          if (addresses.length === 0) return [required(path, "must contain at least 1 address")];
          return addresses.length > 100 ? [tooMany(path, addresses.length, 100)] : [];
        }),
        ...(old === undefined ? [] : immutable("addressType", object["addressType"], old["addressType"])),
      ];
    },
    columns: [
      nameColumn,
      column("AddressType", "The kind of addresses in this slice."),
      column("Ports", "Ports of each endpoint in this slice."),
      column("Endpoints", "Addresses of the endpoints in this slice."),
      ageColumn,
    ],
    row(object, now) {
      const ports = list(object["ports"]).map(({ name, port }) => String(port ?? (name || "*")));
      const addresses = list(object["endpoints"]).flatMap(
        (endpoint) => (endpoint["addresses"] ?? []) as string[],
      );
      return [
        object.metadata.name,
        object["addressType"] ?? "",
        firstFew(ports, "<unset>"),
        firstFew(addresses, "<unset>"),
        age(object, now),
      ];
    },
  },
);
