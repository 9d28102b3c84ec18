/**
 * Who we are to a registry. Where that stands: Docker's config.json with its helpers, helm's registry config, and the pull
 * secrets of pods, which are of the same form (https://docs.docker.com/reference/cli/docker/login/,
 * https://kubernetes.io/docs/concepts/containers/images/#config-json).
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError, isErrno } from "@kws/base/errors";
import { exec } from "@kws/base/exec";

export type Credentials =
  | { username: string; password: string }
  /** For the token service alone. */
  | { identityToken: string }
  /** Shown to the registry as it is. */
  | { registryToken: string };

/** For a registry's host (with its port) and the path of a repository in it; undefined for nobody in particular. */
export type CredentialSource = (host: string, path: string) => Promise<Credentials | undefined>;

export const anonymous: CredentialSource = async () => undefined;

/** The first that any of them knows. */
export function firstOf(...sources: CredentialSource[]): CredentialSource {
  return async (host, path) => {
    for (const source of sources) {
      const found = await source(host, path);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** What `docker login` and `helm registry login` have left in the home of the user whose environment it is. */
export function userCredentials(env: NodeJS.ProcessEnv): CredentialSource {
  return firstOf(
    ...credentialFiles(env).map((file): CredentialSource => async (host, path) => {
      const config = await readConfig(file);
      if (config === undefined) return undefined;
      const helper = config.credHelpers?.[host] ?? config.credsStore;
      const helped = helper === undefined ? undefined : await askHelper(helper, host, file, env);
      return helped ?? fromAuths(config.auths ?? {}, host, path, file);
    }),
  );
}

/** Where logins to registries are kept, unless a helper keeps them. */
export function credentialFiles(env: NodeJS.ProcessEnv): string[] {
  const home = env["HOME"] ?? "";
  const docker = env["DOCKER_CONFIG"] ?? join(home, ".docker");
  const helmHome = env["HELM_CONFIG_HOME"] ?? join(env["XDG_CONFIG_HOME"] ?? join(home, ".config"), "helm");
  return [
    join(docker, "config.json"),
    env["HELM_REGISTRY_CONFIG"] ?? join(helmHome, "registry", "config.json"),
  ];
}

interface DockerConfig {
  auths?: Record<string, unknown>;
  credHelpers?: Record<string, string>;
  credsStore?: string;
}

async function readConfig(file: string): Promise<DockerConfig | undefined> {
  try {
    return parseConfig(await readFile(file, "utf8"), file);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parseConfig(text: string, where: string): DockerConfig {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    // Not the parser's own words: they quote the text, and there are passwords in it.
    throw new UserError(`${where} is not JSON`, { code: "config", fix: "Correct it, or log in again." });
  }
  if (!isRecord(config)) return {};
  const { auths, credHelpers, credsStore } = config;
  const helpers = isRecord(credHelpers)
    ? Object.entries(credHelpers).filter((entry): entry is [string, string] => typeof entry[1] === "string")
    : [];
  return {
    ...(isRecord(auths) ? { auths } : {}),
    credHelpers: Object.fromEntries(helpers),
    ...(typeof credsStore === "string" && credsStore !== "" ? { credsStore } : {}),
  };
}

/** The two kinds of pull secret: `.dockerconfigjson` and the older `.dockercfg`. Data as in the Secret, in base64. */
export function secretCredentials(data: Record<string, string>, where: string): CredentialSource {
  const decode = (key: string) => {
    const value = data[key];
    return value === undefined ? undefined : Buffer.from(value, "base64").toString("utf8");
  };
  const modern = decode(".dockerconfigjson");
  const old = decode(".dockercfg");
  if (modern === undefined && old === undefined) return anonymous;
  return async (host, path) => {
    const text = modern ?? `{"auths":${old ?? "{}"}}`;
    return fromAuths(parseConfig(text, where).auths ?? {}, host, path, where);
  };
}

/** The entry with the longest path that the repository is under; hosts may hold `*` for a part of them. */
function fromAuths(
  auths: Record<string, unknown>,
  host: string,
  path: string,
  where: string,
): Credentials | undefined {
  const matching = Object.entries(auths)
    .map(([key, entry]) => ({ scope: matchedPath(key, host, path), key, entry }))
    .filter(({ scope }) => scope !== undefined)
    .sort((a, b) => (b.scope?.length ?? 0) - (a.scope?.length ?? 0));
  for (const { key, entry } of matching) {
    const found = isRecord(entry) ? fromEntry(entry, `${where}: the entry "${key}"`) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The path of the entry's key, and undefined where the key is not for this repository. */
function matchedPath(key: string, host: string, path: string): string | undefined {
  const bare = key.replace(/^https?:\/\//, "");
  const cut = bare.indexOf("/");
  const keyHost = cut === -1 ? bare : bare.slice(0, cut);
  // Docker's own keys end in the version of the API.
  const keyPath =
    cut === -1
      ? ""
      : bare
          .slice(cut + 1)
          .replace(/^v[12]\/?$/, "")
          .replace(/\/$/, "");
  const parts = keyHost.split(".");
  const hostParts = host.split(".");
  const sameHost =
    parts.length === hostParts.length && parts.every((part, at) => matchesPart(part, hostParts[at] ?? ""));
  if (!sameHost) return undefined;
  return keyPath === "" || path === keyPath || path.startsWith(`${keyPath}/`) ? keyPath : undefined;
}

function matchesPart(pattern: string, part: string): boolean {
  const literal = pattern.split("*").map((piece) => piece.replace(/[^\w-]/g, "\\$&"));
  return new RegExp(`^${literal.join(".*")}$`).test(part);
}

function fromEntry(entry: Record<string, unknown>, where: string): Credentials | undefined {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
  if (isText(registrytoken)) return { registryToken: registrytoken };
  if (isText(identitytoken)) return { identityToken: identitytoken };
  if (isText(auth)) {
    const [, name, secret] = /^([^:]*):([^]*)$/.exec(Buffer.from(auth, "base64").toString("utf8")) ?? [];
    if (name === undefined || secret === undefined) {
      throw new UserError(`${where} is damaged: "auth" is not a name and a password in base64`, {
        code: "config",
        fix: "Log in again.",
      });
    }
    return { username: name, password: secret.replace(/\0+$/, "") };
  }
  return isText(username) && isText(password) ? { username, password } : undefined;
}

const helperTimeoutMs = 30_000;

/** https://github.com/docker/docker-credential-helpers: the host on standard input, JSON on standard output. */
async function askHelper(
  helper: string,
  host: string,
  file: string,
  env: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  if (!/^[\w.-]+$/.test(helper)) {
    throw new UserError(`${file}: "${helper}" is not the name of a credential helper`, { code: "config" });
  }
  const program = `docker-credential-${helper}`;
  for (const server of [host, `https://${host}`, `https://${host}/v1/`]) {
    const { exitCode, stdout } = await runHelper(program, server, file, env);
    if (exitCode === 0) return fromHelper(stdout, program);
    // What it says may hold what it keeps.
    if (!/not found/i.test(stdout)) {
      throw new UserError(`${program} gave no credentials for ${host}`, {
        code: "permission",
        fix: `Unlock what it keeps them in, or log in again with docker login ${host}.`,
      });
    }
  }
  return undefined;
}

async function runHelper(program: string, server: string, file: string, env: NodeJS.ProcessEnv) {
  try {
    return await exec(program, ["get"], { env, input: server, timeoutMs: helperTimeoutMs });
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== "tool-missing") throw error;
    throw new UserError(`${file} keeps credentials with ${program}, which is not installed`, {
      code: "tool-missing",
      fix: `Install it, or take "credsStore" and "credHelpers" out of ${file}.`,
      cause: error,
    });
  }
}

function fromHelper(stdout: string, program: string): Credentials | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    throw new UserError(`${program} answered something that is not JSON`, {
      fix: "Update it, or remove it.",
    });
  }
  const { Username: username, Secret: secret } = isRecord(answer) ? answer : {};
  if (typeof username !== "string" || typeof secret !== "string" || secret === "") return undefined;
  return username === "<token>" ? { identityToken: secret } : { username, password: secret };
}
