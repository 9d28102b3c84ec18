/**
 * Rotation of a credential while its clients work: the provider accepts a second value, clients move to it one at a time, and
 * the provider forgets the first. Every step is a commit and a deployment, and is found out again from those, so that whatever
 * was interrupted goes on with the same command.
 */
import { randomBytes } from "node:crypto";
import { UserError } from "@kws/base/errors";
import type { ProjectService } from "../project/workspace.ts";
import type { Tools } from "../secrets/operations.ts";
import type { Credential } from "./credential.ts";
import { type Direction, nextStep, type RolloutState, type Step, underWay } from "./plan.ts";
import { type Change, changeSecrets, commitSecrets, refuseUncommitted, secretsFile } from "./secrets-file.ts";
import { readStanding, type Standing, type StateOptions } from "./state.ts";

export interface RolloutOptions extends StateOptions {
  tools: Tools;
  /** The line that runs one of the steps, for errors. */
  commandFor: (step: "start" | "next" | "abort") => string;
  /** Packages what is committed of the service and deploys it; resolves when it is ready. */
  deploy: (service: ProjectService, reason: string) => Promise<void>;
  /** Told the subject of each commit that was made. */
  onCommit: (subject: string) => void;
}

/** The provider accepts a new value too: the given one, or a random one. A start that was interrupted goes on. */
export async function startRollout(
  credential: Credential,
  options: RolloutOptions,
  given?: string,
): Promise<RolloutState> {
  const { provider, next: nextKey } = credential;
  const { state, old, next } = await readStanding(credential, options);
  if (next !== undefined && given !== undefined && next !== given) {
    throw new UserError(`${credential.name} is rotated to another value already`, {
      code: "conflict",
      fix: `Go on with \`${options.commandFor("next")}\`, or give it up with \`${options.commandFor("abort")}\`.`,
    });
  }
  if (next === undefined) {
    if (given === "" || given === old) {
      throw new UserError(
        given === "" ? "the new value is empty" : "the new value is the one that is in use",
        {
          code: "usage",
          fix: "Give another one, or none for a random one.",
        },
      );
    }
    if (state.provider.running.length === 0) {
      throw new UserError(
        `${state.provider.service} is not deployed here with the profile ${options.profile}`,
        {
          code: "not-found",
          fix: `Deploy it first: \`kws deploy ${state.provider.service} -p ${options.profile}\`.`,
        },
      );
    }
    // What an earlier rotation has left to do comes first.
    await advance(credential, options, "forward", 0);
    await refuseUncommitted(provider.service, options.git);
    await change(provider.service, options, [[nextKey, given ?? randomBytes(32).toString("base64url")]]);
  }
  return advance(credential, options, "forward", 0);
}

/**
 * One step: what was left undone of the last one, or else a client moves, or, after the last client, the provider forgets the
 * old value.
 */
export async function continueRollout(
  credential: Credential,
  options: RolloutOptions,
): Promise<RolloutState> {
  const step = await firstStep(credential, options);
  return advance(credential, options, "forward", step.do === "change" ? 1 : 0);
}

/** All clients go back to the old value, and then the provider forgets the new one. */
export async function abortRollout(credential: Credential, options: RolloutOptions): Promise<RolloutState> {
  await firstStep(credential, options);
  return advance(credential, options, "back", Infinity);
}

async function firstStep(credential: Credential, options: RolloutOptions): Promise<Step> {
  const { state } = await readStanding(credential, options);
  const step = nextStep(state, "forward");
  if (step !== undefined) return step;
  throw new UserError(`no rotation of ${credential.name} is under way`, {
    code: "conflict",
    fix: `Start one with \`${options.commandFor("start")}\`.`,
  });
}

/** Goes on until nothing is left to do, or to one change of a profile more than is allowed. */
async function advance(
  credential: Credential,
  options: RolloutOptions,
  direction: Direction,
  allowed: number,
): Promise<RolloutState> {
  let changes = allowed;
  let last: Step | undefined;
  for (;;) {
    const standing = await readStanding(credential, options);
    const step = nextStep(standing.state, direction);
    if (step === undefined || (step.do === "change" && changes-- === 0)) return standing.state;
    if (step.do === last?.do && step.service === last.service) throw stuck(step);
    await take(step, standing, credential, options);
    last = step;
  }
}

async function take(
  step: Step,
  { state, old, next }: Standing,
  credential: Credential,
  options: RolloutOptions,
): Promise<void> {
  const { provider, clients, next: nextKey } = credential;
  const party = [provider, ...clients].find(({ service }) => service.name === step.service);
  if (party === undefined) throw new Error(`${step.service} has no part in ${credential.name}`);
  const { service, key } = party;
  if (step.do === "change") {
    const value = step.to === "new" ? next : old;
    if (value === undefined) throw new Error("a change is planned while no rotation is under way");
    await refuseUncommitted(service, options.git);
    const forgotten: Change[] = party === provider ? [[nextKey, undefined]] : [];
    return change(service, options, [[key, value], ...forgotten]);
  }
  const reason = describe(service.name, state, credential.name);
  if (step.do === "deploy") {
    try {
      return await options.deploy(service, reason);
    } catch (error) {
      throw stopped(error, state, options);
    }
  }
  const keys = party === provider ? [key, nextKey] : [key];
  const subject = `${reason} (${options.profile})`;
  await commitSecrets(await secretsFile(service, options.profile), keys, `${subject}\n`, options.git);
  options.onCommit(subject);
}

async function change(
  service: ProjectService,
  { profile, tools }: RolloutOptions,
  changes: Change[],
): Promise<void> {
  await changeSecrets(await secretsFile(service, profile), changes, tools);
}

/** What a step does, for the commit and the history of the release. */
function describe(name: string, { provider, clients }: RolloutState, credential: string): string {
  const wanted = [provider, ...clients].find(({ service }) => service === name)?.wanted ?? [];
  const value = `the ${wanted.join("")} value`;
  const accepted = wanted.length > 1 ? "both values" : `${value} alone`;
  return `Rotate ${credential}: ${name} ${name === provider.service ? `accepts ${accepted}` : `sends ${value}`}`;
}

/** The deployment was undone, and the rotation is where it was. */
function stopped(error: unknown, state: RolloutState, { commandFor }: RolloutOptions): unknown {
  if (!(error instanceof UserError)) return error;
  const mended = error.code === "interrupted" ? "Go on" : "When it is mended and committed, go on";
  const back = underWay(state) ? `, or go back with \`${commandFor("abort")}\`` : "";
  return new UserError(error.message, {
    code: error.code,
    fix: `${mended} with \`${commandFor("next")}\`${back}.`,
    cause: error.cause,
    ...(error.at === undefined ? {} : { at: error.at }),
  });
}

function stuck({ service }: Step): UserError {
  return new UserError(`the value that was set for ${service} does not reach it`, {
    code: "conflict",
    fix: "Look with `kws profile explain` for what sets it.",
  });
}
