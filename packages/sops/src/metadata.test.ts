import { describe, expect, it } from "vitest";
import { flatten, unflatten } from "./formats/flatten.ts";
import { yaml } from "./formats/yaml.ts";
import { readMetadata, writeMetadata, type Metadata } from "./metadata.ts";
import type { MapNode } from "./tree.ts";

function block(text: string): MapNode {
  return yaml.parse(text, undefined)[0]!;
}

function read(text: string): Metadata {
  return readMetadata(block(text), "x.yaml");
}

const age = "age:\n    - recipient: age1x\n      enc: armor\n";
const rest = 'lastmodified: "2026-01-02T03:04:05Z"\nmac: ENC[x]\nversion: 3.13.2\n';

describe("a sops block", () => {
  it("is read with all kinds of keys, in the order of sops", () => {
    const { keyGroups } = read(`${rest}
kms:
    - arn: arn:aws:kms:eu-west-1:1:key/a
      role: arn:aws:iam::1:role/r
      context: { app: shop }
      aws_profile: ops
      created_at: "2026-01-01T00:00:00Z"
      enc: k
gcp_kms: [{ resource_id: projects/p, created_at: "2026-01-01T00:00:00Z", enc: g }]
azure_kv: [{ vault_url: https://v, name: n, version: "1", created_at: "2026-01-01T00:00:00Z", enc: a }]
hc_vault: [{ vault_address: https://v, engine_path: t, key_name: k, created_at: "2026-01-01T00:00:00Z", enc: h }]
hckms: [{ key_id: "r:1", created_at: "2026-01-01T00:00:00Z", enc: c }]
pgp: [{ fp: AB, created_at: 2026-01-01T00:00:00Z, enc: p }]
${age}`);
    expect(keyGroups[0]!.map(({ key, enc }) => [key.type, enc])).toEqual([
      ["kms", "k"],
      ["gcp_kms", "g"],
      ["hckms", "c"],
      ["azure_kv", "a"],
      ["hc_vault", "h"],
      ["pgp", "p"],
      ["age", "armor"],
    ]);
    expect(keyGroups[0]![0]!.key).toEqual({
      type: "kms",
      arn: "arn:aws:kms:eu-west-1:1:key/a",
      role: "arn:aws:iam::1:role/r",
      context: { app: "shop" },
      aws_profile: "ops",
    });
    expect(keyGroups[0]![5]!.created_at).toBe("2026-01-01T00:00:00Z");
  });

  it.each(["kms: []\npgp: null\ngcp_kms:\n", "kms: null\nazure_kv: []\nhc_vault: []\nkey_groups: []\n"])(
    "of an older version holds empty lists: %j",
    (empty) => {
      expect(read(rest + empty + age).keyGroups).toHaveLength(1);
    },
  );

  it("holds the rule that it names, if any", () => {
    expect(read(`${rest}${age}unencrypted_suffix: ""\n`).selection).toEqual({});
    expect(read(`${rest}${age}encrypted_regex: ^x$\n`).selection).toEqual({ encrypted_regex: "^x$" });
  });

  it.each([
    ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"],
    ["2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z"],
    ["2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"],
    ["2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"],
  ])("that was changed at %s has that time in the MAC as %s", (text, expected) => {
    expect(read(`lastmodified: ${text}\nmac: x\n${age}`).lastModified).toBe(expected);
  });

  it.each([
    ["names no key", `${rest}pgp: []\n`, "names no key of a kind that is known here"],
    ["has no time", age, "lastmodified is no time"],
    ["has two rules", `${rest}${age}encrypted_regex: a\nunencrypted_regex: b\n`, "only one of"],
    ["has a text for a list", `${rest}pgp: x\n`, "pgp is no list"],
    ["has a key that wraps nothing", `${rest}age:\n  - recipient: age1x\n`, "its enc is empty"],
    ["has a threshold of words", `${rest}${age}shamir_threshold: two\n`, "shamir_threshold is no number"],
  ])("that %s is told", (_, text, message) => {
    expect(() => read(text)).toThrow(message);
  });

  it("of one group is written with its keys sorted and nothing empty", () => {
    const written = writeMetadata(
      read(`version: 3.1.0\nmac: m\nlastmodified: 2026-01-02T03:04:05Z\nkms: []\n${age}`),
    );
    expect(yaml.emit([written], {})).toBe(
      'age:\n    - enc: armor\n      recipient: age1x\nlastmodified: "2026-01-02T03:04:05Z"\nmac: m\nversion: 3.1.0\n',
    );
  });

  it("of several groups is written below key_groups", () => {
    const text = `${rest}mac_only_encrypted: true\nshamir_threshold: 2\nkey_groups:\n    - ${age.replaceAll("\n", "\n      ")}\n    - pgp: [{ fp: AB, created_at: "2026-01-01T00:00:00Z", enc: p }]\n`;
    expect(yaml.emit([writeMetadata(read(text))], {})).toBe(`key_groups:
    - age:
        - enc: armor
          recipient: age1x
      hc_vault: []
    - age: []
      hc_vault: []
      pgp:
        - created_at: "2026-01-01T00:00:00Z"
          enc: p
          fp: AB
lastmodified: "2026-01-02T03:04:05Z"
mac: ENC[x]
mac_only_encrypted: true
shamir_threshold: 2
version: 3.13.2
`);
  });
});

describe("a flat block", () => {
  it("is the same block, whatever the order of its keys", () => {
    const nested = block(
      `${rest}key_groups:\n    - ${age.replaceAll("\n", "\n      ")}\n    - pgp: [{ fp: A }, { fp: B }]\n`,
    );
    const flat = flatten(nested);
    expect(flat.entries.map((entry) => entry.kind === "entry" && entry.key)).toContain(
      "key_groups__list_1__map_pgp__list_1__map_fp",
    );
    const shuffled: MapNode = { kind: "map", entries: flat.entries.toReversed() };
    expect(flatten(unflatten(shuffled)).entries).toHaveLength(flat.entries.length);
    expect(yaml.emit([unflatten(flat)], {})).toBe(yaml.emit([nested], {}));
  });

  it.each(["a__list_99999999999__map_b: x\n", "a: x\na__map_b: y\n", "a__list_x: y\n"])(
    "is refused: %j",
    (text) => {
      expect(() => unflatten(block(text))).toThrow("contradicts another key");
    },
  );
});
