/**
 * What the server can be told: by a file (KWS_SERVER_CONFIG, YAML), and by variables, which win. On a laptop it needs nothing of
 * it. Variables are named after the keys: `maxBodyBytes` is KWS_SERVER_MAX_BODY_BYTES, a list is written with commas, and
 * KWS_SERVER_TOKEN_FILE names a file that holds KWS_SERVER_TOKEN, as Secrets are mounted.
 */
import { readFile } from "node:fs/promises";
import { messageOf, UserError } from "@kws/base/errors";
import { type Static, type TSchema, Type } from "typebox";
import { Value } from "typebox/value";

export const Config = Type.Object(
  {
    databaseUrl: Type.Optional(
      Type.String({
        pattern: "^postgres(ql)?://",
        description: "PostgreSQL, also as DATABASE_URL; the server brings its own unless given.",
      }),
    ),
    host: Type.String({ default: "127.0.0.1", description: "The address to listen on." }),
    port: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description: "The one it had before, or a free one, unless given.",
      }),
    ),
    token: Type.Optional(
      Type.String({
        minLength: 20,
        description: "The administrator's; made at the first start unless given.",
      }),
    ),
    publicUrl: Type.Optional(
      Type.String({
        pattern: "^https?://[^/?#@]+/?$",
        description: "Where browsers reach it, such as https://kws.example.com; people sign in there.",
      }),
    ),
    oidcIssuer: Type.Optional(
      Type.String({ pattern: "^https?://", description: "The OpenID Connect provider to sign in with." }),
    ),
    oidcClientId: Type.Optional(
      Type.String({ minLength: 1, description: "As registered with the provider." }),
    ),
    oidcClientSecret: Type.Optional(Type.String({ minLength: 1, description: "None for a public client." })),
    oidcScopes: Type.Array(Type.String(), {
      default: ["openid", "profile", "email"],
      description: "What is asked of the provider; the claim of teams may take one more.",
    }),
    oidcTeamsClaim: Type.String({
      default: "groups",
      description: "The claim of the ID token that lists a person's teams.",
    }),
    adminUsers: Type.Array(Type.String(), {
      default: [],
      description: "Who is an admin without a binding, by `sub` at the provider.",
    }),
    adminTeams: Type.Array(Type.String(), {
      default: [],
      description: "Whose members are admins without a binding.",
    }),
    trustedProxies: Type.Array(Type.String(), {
      default: [],
      description: "Addresses and networks whose X-Forwarded-For is believed, such as those of an Ingress.",
    }),
    maxBodyBytes: Type.Integer({ default: 1_048_576, minimum: 1024, description: "Of a request's body." }),
    requestsPerMinute: Type.Integer({ default: 1200, minimum: 1, description: "Of each caller." }),
    maxStreams: Type.Integer({ default: 200, minimum: 1, description: "Live streams at the same time." }),
    logLevel: Type.Union(
      [Type.Literal("debug"), Type.Literal("info"), Type.Literal("warn"), Type.Literal("error")],
      { default: "info" },
    ),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;

/** The variable of a key: `maxBodyBytes` → `KWS_SERVER_MAX_BODY_BYTES`. */
export function variableOf(key: string): string {
  return `KWS_SERVER_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

export async function readConfig(env: NodeJS.ProcessEnv): Promise<Config> {
  const path = env["KWS_SERVER_CONFIG"];
  const file = path === undefined ? {} : await readConfigFile(path);
  const values: Record<string, unknown> = { ...file };
  const sources = new Map(Object.keys(file).map((key) => [key, `${path}: ${key}`]));
  for (const [key, schema] of Object.entries(Config.properties)) {
    const names = key === "databaseUrl" ? [variableOf(key), "DATABASE_URL"] : [variableOf(key)];
    const given = await readVariable(names, env);
    if (given === undefined) continue;
    const { name, text } = given;
    values[key] = Type.IsArray(schema) ? splitList(text) : Value.Convert(schema as TSchema, text);
    sources.set(key, name);
  }
  const config = Value.Default(Config, values);
  if (Value.Check(Config, config)) return config;
  const [first] = Value.Errors(Config, config);
  const key =
    first?.instancePath.split("/")[1] ?? Object.keys(values).find((name) => !(name in Config.properties));
  throw new UserError(`${sources.get(key ?? "") ?? path} ${first?.message ?? "is not valid"}`, {
    code: "config",
    fix: "Correct it, and start the server again.",
  });
}

/** The first that is set, itself or by its file. */
async function readVariable(
  names: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ name: string; text: string } | undefined> {
  for (const name of names) {
    const text = env[name] ?? "";
    if (text !== "") return { name, text };
    const path = env[`${name}_FILE`] ?? "";
    if (path === "") continue;
    const content = await readFile(path, "utf8").catch((cause: unknown) => {
      throw new UserError(`${name}_FILE cannot be read: ${messageOf(cause)}`, { code: "config", cause });
    });
    return { name: `${name}_FILE`, text: content.trim() };
  }
  return undefined;
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  const { parse } = await import("yaml");
  const value: unknown = parse(await readFile(path, "utf8"));
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UserError(`${path} does not hold keys and values`, { code: "config", at: path });
}
