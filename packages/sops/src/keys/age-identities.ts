/**
 * Where age identities come from, as sops looks for them (its `age/keysource.go`): the environment, files, and commands.
 * A place that cannot be read or understood does not stop the others; it is told when nothing opens a key.
 */
import { readFile } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { isErrno, messageOf } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import type { Decrypter, Identity, Stanza } from "age-encryption";
import { sshIdentities } from "./age-ssh.ts";
import type { KeyWorld } from "./key.ts";
import { splitWords } from "./shellwords.ts";

export interface FoundIdentities {
  /** Holds the identities, and throws `NoIdentityMatches` where a file is for none of them. */
  decrypter: Decrypter;
  count: number;
  /** Identities of plugins, `AGE-PLUGIN-…`, which only the `age` program can use. */
  plugins: string[];
  /** Places without an identity: variables and paths. */
  empty: string[];
  /** Places that could not be read or understood, and why. */
  problems: string[];
}

export type FindIdentities = (recipient: string, signal: AbortSignal | undefined) => Promise<FoundIdentities>;

export interface Identities {
  /** Those in the environment and in files; read once. */
  stored: FindIdentities;
  /** Those that commands print, which run once for each recipient and are told it as `SOPS_AGE_RECIPIENT`. */
  commanded: FindIdentities;
}

/** A file is for none of the identities but for recipients of these types. */
export class NoIdentityMatches extends Error {
  override name = "NoIdentityMatches";
  readonly stanzaTypes: string[];

  constructor(stanzas: readonly Stanza[]) {
    super("no identity matches");
    this.stanzaTypes = stanzas.map((stanza) => stanza.args[0] ?? "");
  }
}

export function openIdentities(world: KeyWorld): Identities {
  let stored: Promise<FoundIdentities> | undefined;
  const commanded = new Map<string, Promise<FoundIdentities>>();
  return {
    stored: async () => await (stored ??= collect(storedPlaces(world))),
    commanded: async (recipient, signal) => {
      for (let running = commanded.get(recipient); running; running = commanded.get(recipient)) {
        try {
          return await running;
        } catch {
          // Whoever started the command gave up; others who wait for it start it anew.
          signal?.throwIfAborted();
        }
      }
      const own = collect(commandedPlaces(world, recipient, signal), signal);
      commanded.set(recipient, own);
      try {
        return await own;
      } catch (error) {
        commanded.delete(recipient);
        throw error;
      }
    },
  };
}

/** Somewhere to look. */
interface Place {
  /** As the user knows it: a variable or a path. */
  name: string;
  holds: "age" | "ssh";
  /** Undefined where nothing is there. */
  read: () => Promise<string | undefined>;
}

function storedPlaces({ env, home, cwd }: KeyWorld): Place[] {
  const places: Place[] = [
    { name: "SOPS_AGE_KEY", holds: "age", read: async () => env.SOPS_AGE_KEY },
    namedFile("SOPS_AGE_KEY_FILE", "age", env, cwd),
    namedFile("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "ssh", env, cwd),
  ];
  const folder = configFolder(env, home, process.platform);
  if (folder !== undefined) places.push(usualFile(join(folder, "sops", "age", "keys.txt"), "age"));
  places.push(
    usualFile(join(home, ".ssh", "id_ed25519"), "ssh"),
    usualFile(join(home, ".ssh", "id_rsa"), "ssh"),
  );
  return places;
}

function commandedPlaces(world: KeyWorld, recipient: string, signal: AbortSignal | undefined): Place[] {
  const command = (variable: string, holds: Place["holds"]): Place => ({
    name: variable,
    holds,
    read: async () => await outputOf(world, world.env[variable], recipient, signal),
  });
  return [command("SOPS_AGE_KEY_CMD", "age"), command("SOPS_AGE_SSH_PRIVATE_KEY_CMD", "ssh")];
}

function namedFile(variable: string, holds: Place["holds"], env: NodeJS.ProcessEnv, cwd: string): Place {
  const path = env[variable];
  return {
    name: path === undefined ? variable : `${variable} (${path})`,
    holds,
    read: async () => (path === undefined ? undefined : await readFile(resolve(cwd, path), "utf8")),
  };
}

function usualFile(path: string, holds: Place["holds"]): Place {
  return {
    name: path,
    holds,
    read: async () => {
      try {
        return await readFile(path, "utf8");
      } catch (error) {
        if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
        throw error;
      }
    },
  };
}

async function outputOf(
  { env, cwd }: KeyWorld,
  command: string | undefined,
  recipient: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  if (command === undefined) return undefined;
  const [program, ...args] = splitWords(command);
  if (program === undefined) throw new Error("the command is empty");
  const result = await exec(program, args, { cwd, env: { ...env, SOPS_AGE_RECIPIENT: recipient }, signal });
  // What it printed on standard output may be a key: it is in no message.
  if (result.exitCode !== 0)
    throw new Error(`${program} exited with ${result.exitCode}: ${lastLines(result.stderr, 3)}`);
  return result.stdout;
}

/** Go's os.UserConfigDir, except that macOS honours XDG_CONFIG_HOME too. Undefined where it has none. */
export function configFolder(
  env: NodeJS.ProcessEnv,
  home: string,
  platform: NodeJS.Platform,
): string | undefined {
  if (platform === "win32") return env.APPDATA;
  const xdg = env.XDG_CONFIG_HOME;
  if (xdg !== undefined && xdg !== "") return platform === "darwin" || isAbsolute(xdg) ? xdg : undefined;
  return platform === "darwin" ? join(home, "Library", "Application Support") : join(home, ".config");
}

async function collect(places: readonly Place[], signal?: AbortSignal): Promise<FoundIdentities> {
  const { Decrypter } = await import("age-encryption");
  const found: FoundIdentities = {
    decrypter: new Decrypter(),
    count: 0,
    plugins: [],
    empty: [],
    problems: [],
  };
  for (const place of places) {
    try {
      const text = await place.read();
      if (text === undefined || text.trim() === "") found.empty.push(place.name);
      else await (place.holds === "age" ? addAge(found, text) : addSsh(found, text));
    } catch (error) {
      signal?.throwIfAborted();
      found.problems.push(`${place.name}: ${messageOf(error)}`);
    }
  }
  found.decrypter.addIdentity(matchesNothing);
  return found;
}

/** Stands after all identities, and so is asked only where none of them matched. */
const matchesNothing: Identity = {
  unwrapFileKey: (stanzas) => {
    throw new NoIdentityMatches(stanzas);
  },
};

/** One identity a line, or a word in a variable; lines that begin with `#` are comments. Messages never repeat the text. */
function addAge(found: FoundIdentities, text: string): void {
  if (/^(age-encryption|-----BEGIN AGE)/.test(text)) {
    throw new Error(
      "it is encrypted itself; set SOPS_AGE_KEY_CMD to a command that decrypts it, such as age -d FILE",
    );
  }
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim().startsWith("#")) continue;
    for (const word of line.split(/\s+/).filter((word) => word !== "")) {
      if (word.startsWith("AGE-PLUGIN-")) {
        found.plugins.push(word);
        continue;
      }
      try {
        found.decrypter.addIdentity(word);
      } catch {
        throw new Error(`line ${index + 1} is not an age identity (AGE-SECRET-KEY-1…)`);
      }
      found.count++;
    }
  }
}

async function addSsh(found: FoundIdentities, text: string): Promise<void> {
  for (const identity of await sshIdentities(text)) found.decrypter.addIdentity(identity);
  found.count++;
}

/** A new X25519 identity, and its recipient. */
export async function newIdentity(): Promise<{ identity: string; recipient: string }> {
  const { generateX25519Identity, identityToRecipient } = await import("age-encryption");
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

/** The recipients of the X25519 identities in the text of a key file. */
export async function recipientsIn(text: string): Promise<string[]> {
  const { identityToRecipient } = await import("age-encryption");
  const identities = text.split("\n").filter((line) => line.startsWith("AGE-SECRET-KEY-1"));
  return Promise.all(identities.map((identity) => identityToRecipient(identity.trim())));
}
