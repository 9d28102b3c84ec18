/**
 * Where a rotation stands: read from the profiles' encrypted files and from what runs, and kept nowhere else. Values stay in
 * here; what is told of them is whether they are the old one or the new one.
 */
import { UserError } from "@kws/base/errors";
import { loadChart } from "../charts/chart.ts";
import { type Decrypt, effectiveValues, isMapping, type Values } from "../charts/layers.ts";
import { unknownProfile, profileNames } from "../charts/profiles.ts";
import type { GitSettings } from "../packages/revision.ts";
import { keyPath } from "../project/key-path.ts";
import type { ProjectService } from "../project/workspace.ts";
import type { Credential } from "./credential.ts";
import type { Label, PartyState, RolloutState } from "./plan.ts";
import { isCommitted, secretsFile } from "./secrets-file.ts";

export interface StateOptions {
  profile: string;
  decrypt: Decrypt;
  git: GitSettings;
  /** The values of each revision of a service whose pods may run, the newest first. */
  runningValues: (service: string) => Promise<Values[]>;
}

export interface Standing {
  state: RolloutState;
  /** The provider's value, which clients go back to. */
  old: string;
  /** The second one that it accepts; undefined where no rotation is under way. */
  next: string | undefined;
}

/** Throws `config` where the provider has no value at all. */
export async function readStanding(credential: Credential, options: StateOptions): Promise<Standing> {
  const { provider, next: nextKey, clients } = credential;
  const own = await readParty(provider.service, [provider.key, nextKey], options);
  const [old, next] = own.wanted;
  if (old === undefined) {
    throw new UserError(
      `${provider.service.name} has no ${keyPath(provider.key)} with the profile ${options.profile}`,
      {
        code: "config",
        at: own.file,
        fix: "Give it and its clients a value with `kws secrets set`, commit and deploy them; then it can be rotated.",
      },
    );
  }
  if (next === old) {
    throw new UserError(
      `${keyPath(provider.key)} and ${keyPath(nextKey)} of ${provider.service.name} are the same`,
      {
        code: "config",
        at: own.file,
        fix: `Take one away: \`kws secrets unset ${own.file} ${keyPath(nextKey)}\`.`,
      },
    );
  }
  // After the provider's last change only what still runs tells which of two values was the new one.
  const [other, latest] = own.running.find(([, second]) => second !== undefined) ?? [];
  const names = new Map<string | undefined, Label>();
  if (next !== undefined) names.set(next, "new").set(old, "old");
  else if (latest === undefined) names.set(old, "current");
  else if (old === latest) names.set(other, "old").set(latest, "new");
  else names.set(latest, "new").set(old, "old");
  const label = (values: (string | undefined)[]) =>
    values.flatMap((value) => (value === undefined ? [] : [names.get(value) ?? "other"]));
  const stateOf = (service: ProjectService, { wanted, running, committed }: PartyValues): PartyState => ({
    service: service.name,
    wanted: label(wanted),
    committed,
    running: running.map(label),
  });
  const clientStates = await Promise.all(
    clients.map(async ({ service, key }) => stateOf(service, await readParty(service, [key], options))),
  );
  return { state: { provider: stateOf(provider.service, own), clients: clientStates }, old, next };
}

interface PartyValues {
  /** Of each key. */
  wanted: (string | undefined)[];
  running: (string | undefined)[][];
  committed: boolean;
  file: string;
}

async function readParty(
  service: ProjectService,
  keys: string[][],
  { profile, decrypt, git, runningValues }: StateOptions,
): Promise<PartyValues> {
  const chart = await loadChart(service, profile, decrypt);
  if (!chart.hasProfile) throw unknownProfile(chart.dir, profile, await profileNames(chart.dir));
  const file = await secretsFile(service, profile);
  const values = effectiveValues(chart.layers);
  const wanted = keys.map((key) => {
    const value = textAt(values, key);
    if (value === undefined || typeof at(values, key) === "string") return value;
    throw new UserError(`${keyPath(key)} of ${service.name} is not text`, {
      code: "config",
      at: file,
      fix: "A value that is rotated is text.",
    });
  });
  const [running, committed] = await Promise.all([runningValues(service.name), isCommitted(file, git)]);
  return {
    wanted,
    running: running.map((values) => keys.map((key) => textAt(values, key))),
    committed,
    file,
  };
}

/** Undefined for what is empty: charts have empty text where a profile is to have a value. */
function textAt(values: Values, key: string[]): string | undefined {
  const value = at(values, key);
  if (value === undefined || value === null || value === "") return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function at(values: Values, key: string[]): unknown {
  return key.reduce(
    (value: unknown, name) => (isMapping(value) && Object.hasOwn(value, name) ? value[name] : undefined),
    values,
  );
}
