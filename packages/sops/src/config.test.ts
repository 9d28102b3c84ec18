import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findConfig, loadConfig, parseConfig, type CreationRule } from "./config.ts";

it("the context that is chosen is that of AWS KMS keys outside of groups", () => {
  const [one, grouped] = ["kms: ARN", "key_groups: [{ kms: [{ arn: ARN }] }]"].map((keys) =>
    parseConfig(
      `creation_rules: [{ ${keys} }]\n`.replace("ARN", '"arn:aws:kms:us-east-1:1:key/a"'),
      "/repo/.sops.yaml",
    ).ruleFor("/repo/x", { app: "shop" }),
  );
  expect(one?.groups).toMatchObject([[{ context: { app: "shop" } }]]);
  expect(grouped?.groups).not.toMatchObject([[{ context: { app: "shop" } }]]);
});

function ruleFor(text: string, file = "/repo/secrets.yaml"): CreationRule | undefined {
  return parseConfig(text, "/repo/.sops.yaml").ruleFor(file);
}

describe("the search", () => {
  it("goes up to the first .sops.yaml, and warns of a .sops.yml on the way", async () => {
    const folder = await mkdtemp(join(tmpdir(), "kws-sops-"));
    try {
      const deep = join(folder, "a", "b");
      await mkdir(deep, { recursive: true });
      await writeFile(join(folder, ".sops.yaml"), "creation_rules: []\n");
      expect(await findConfig(deep)).toEqual({ path: join(folder, ".sops.yaml") });
      await writeFile(join(folder, "a", ".sops.yml"), "");
      expect((await findConfig(deep)).warning).toContain(join(folder, "a", ".sops.yml"));
      expect((await loadConfig(join(folder, ".sops.yaml"))).ruleFor(join(deep, "x"))).toBeUndefined();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("for a file that is not there ends with exit code 61", async () => {
    await expect(loadConfig("/nowhere/.sops.yaml")).rejects.toMatchObject({ exitCode: 61 });
  });
});

describe("creation rules", () => {
  const rules = `creation_rules:
  - path_regex: ^profiles/prod.*\\.yaml$
    age: age1prod
    encrypted_regex: ^data$
    mac_only_encrypted: true
  - path_regex: "\\\\.env$"
    age: [age1a, "age1b, age1c"]
  - age: age1rest
`;

  it.each([
    ["/repo/profiles/production/secrets.yaml", ["age1prod"]],
    ["/repo/x/profiles/prod.yaml", ["age1rest"]],
    ["/repo/app.env", ["age1a", "age1b", "age1c"]],
    ["/elsewhere/x.env", ["age1a", "age1b", "age1c"]],
    ["/repo/x.yaml", ["age1rest"]],
  ])("for %s are the first that match its path from the configuration", (file, expected) => {
    const { groups } = ruleFor(rules, file)!;
    expect(groups).toEqual([expected.map((recipient) => ({ type: "age", recipient }))]);
  });

  it("say what is encrypted and where they stand", () => {
    expect(ruleFor(rules, "/repo/profiles/prod.yaml")).toMatchObject({
      selection: { encrypted_regex: "^data$" },
      macOnlyEncrypted: true,
      shamirThreshold: 0,
      at: "/repo/.sops.yaml:2:5",
    });
  });

  it("name keys of all kinds", () => {
    const text = `creation_rules:
  - kms: arn:aws:kms:eu-west-1:1:key/a+arn:aws:iam::1:role/r, arn:aws-cn:kms:cn-north-1:1:alias/b
    aws_profile: ops
    pgp: "85D7 7543 B3D6 24B6 3CEA  9E6D BC17 301B 491B 3F21"
    gcp_kms: projects/p/locations/global/keyRings/r/cryptoKeys/k
    azure_keyvault: https://v.vault.azure.net/keys/k/1, https://v.vault.azure.net/keys/k
    hc_vault_transit_uri: https://vault.example.com:8200/v1/transit/keys/dev
    hckms: [tr-west-1:abc]
`;
    expect(ruleFor(text)!.groups[0]).toEqual([
      { type: "pgp", fp: "85D77543B3D624B63CEA9E6DBC17301B491B3F21" },
      {
        type: "kms",
        arn: "arn:aws:kms:eu-west-1:1:key/a",
        role: "arn:aws:iam::1:role/r",
        aws_profile: "ops",
      },
      { type: "kms", arn: "arn:aws-cn:kms:cn-north-1:1:alias/b", aws_profile: "ops" },
      { type: "gcp_kms", resource_id: "projects/p/locations/global/keyRings/r/cryptoKeys/k" },
      { type: "hckms", key_id: "tr-west-1:abc" },
      { type: "azure_kv", vault_url: "https://v.vault.azure.net", name: "k", version: "1" },
      { type: "azure_kv", vault_url: "https://v.vault.azure.net", name: "k", version: "" },
      {
        type: "hc_vault",
        vault_address: "https://vault.example.com:8200",
        engine_path: "transit",
        key_name: "dev",
      },
    ]);
  });

  it("have groups, merged from others and without the same key twice", () => {
    const text = `creation_rules:
  - shamir_threshold: 2
    key_groups:
      - merge:
          - age: [age1a]
            kms: [{ arn: "arn:aws:kms:eu-west-1:1:key/a", context: { app: shop }, role: "arn:aws:iam::1:role/r" }]
          - age: [age1a, age1b]
        pgp: [85D77543B3D624B63CEA9E6DBC17301B491B3F21]
      - hc_vault: [http://127.0.0.1:8200/v1/team/transit/keys/k]
        azure_keyvault: [{ vaultUrl: "https://v", key: k, version: "2" }]
        gcp_kms: [{ resource_id: projects/p/locations/l/keyRings/r/cryptoKeys/k }]
        hckms: [{ key_id: "r:1" }]
`;
    const rule = ruleFor(text)!;
    expect(rule.shamirThreshold).toBe(2);
    expect(rule.groups[0]).toEqual([
      { type: "age", recipient: "age1a" },
      {
        type: "kms",
        arn: "arn:aws:kms:eu-west-1:1:key/a",
        context: { app: "shop" },
        role: "arn:aws:iam::1:role/r",
      },
      { type: "age", recipient: "age1b" },
      { type: "pgp", fp: "85D77543B3D624B63CEA9E6DBC17301B491B3F21" },
    ]);
    expect(rule.groups[1]!.map(({ type }) => type)).toEqual(["gcp_kms", "hckms", "azure_kv", "hc_vault"]);
  });

  it("know nothing of destination rules", () => {
    expect(ruleFor("destination_rules:\n  - s3_bucket: x\n")).toBeUndefined();
  });

  it.each([
    [
      "is not matched",
      "creation_rules:\n  - path_regex: x\n    age: a\n",
      "/repo/.sops.yaml",
      "no creation rule matches",
    ],
    ["has no list", "creation_rules: {}\n", "/repo/.sops.yaml:1:17", "has to be a list"],
    [
      "has a bad expression",
      "creation_rules:\n  - path_regex: '('\n",
      "/repo/.sops.yaml:2:17",
      "no regular expression",
    ],
    [
      "has a key that is none",
      "creation_rules:\n  - kms: arn:aws:s3:x\n",
      "/repo/.sops.yaml:2:10",
      "no ARN of an AWS KMS key",
    ],
    [
      "has two rules",
      "creation_rules:\n  - encrypted_regex: a\n    encrypted_suffix: b\n",
      "/repo/.sops.yaml:2:5",
      "only one of",
    ],
    [
      "has a threshold of words",
      "creation_rules:\n  - shamir_threshold: two\n",
      "/repo/.sops.yaml:2:23",
      "whole number",
    ],
  ])("that %s is told with its place", (_, text, at, message) => {
    expect(() => ruleFor(text)).toThrow(
      expect.objectContaining({ at, message: expect.stringContaining(message) }),
    );
  });
});

describe("stores", () => {
  it("say how far formats are indented", () => {
    const config = parseConfig(
      "stores:\n  yaml: { indent: 2 }\n  json_binary: { indent: 0 }\n  json: { indent: -1 }\n",
      "x",
    );
    expect(["yaml", "binary", "json", "ini"].map((format) => config.indentOf(format as "yaml"))).toEqual([
      2,
      0,
      undefined,
      undefined,
    ]);
  });

  it("refuse negative ones", () => {
    const config = parseConfig("stores:\n  yaml: { indent: -2 }\n", "x");
    expect(() => config.indentOf("yaml")).toThrow("may not be negative");
  });
});
