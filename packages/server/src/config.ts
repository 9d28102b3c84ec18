/**
 * What the server can be told: by a file (KWS_SERVER_CONFIG, YAML), and by variables, which win. On a laptop it needs nothing of
 * it. Variables are named after the keys: `maxBodyBytes` is KWS_SERVER_MAX_BODY_BYTES.
 */
import { readFile } from "node:fs/promises";
import { UserError } from "@kws/base/errors";
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
    const name = names.find((name) => (env[name] ?? "") !== "");
    if (name === undefined) continue;
    values[key] = Value.Convert(schema as TSchema, env[name]);
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

async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  const { parse } = await import("yaml");
  const value: unknown = parse(await readFile(path, "utf8"));
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UserError(`${path} does not hold keys and values`, { code: "config", at: path });
}
