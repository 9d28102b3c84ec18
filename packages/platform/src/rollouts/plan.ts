/**
 * What a rotation does next, from where everybody stands, and nothing else: so it goes on after any interruption. A provider
 * never stops accepting what a client may send, and no client sends what the provider may not accept.
 */
import { UserError } from "@kws/base/errors";

/**
 * A value by what it is to the rotation. `current` is the only one while none is under way; `other` is none of those that
 * are known.
 */
export type Label = "current" | "old" | "new" | "other";

export interface PartyState {
  service: string;
  /** What the profile says: the value that a client sends, or those that the provider accepts. Empty where it has none. */
  wanted: Label[];
  /** The profile is committed as it is. */
  committed: boolean;
  /** The same of each revision whose pods may run, the newest first. None where the service is not deployed. */
  running: Label[][];
}

export interface RolloutState {
  provider: PartyState;
  clients: PartyState[];
}

export type Step =
  | { do: "commit" | "deploy"; service: string }
  /** A client gets the value; a provider accepts no other any more. */
  | { do: "change"; service: string; to: "old" | "new" };

export type Direction = "forward" | "back";

/** Undefined where nothing is left to do. Throws `conflict` where every way on would break a client. */
export function nextStep(state: RolloutState, direction: Direction): Step | undefined {
  const { provider, clients } = state;
  const parties = [provider, ...clients];
  const uncommitted = parties.find(({ committed }) => !committed);
  if (uncommitted !== undefined) return { do: "commit", service: uncommitted.service };
  const isUnderWay = underWay(state);
  const stray = clients.find(({ wanted }) => !isIn(wanted, provider.wanted) || wanted.length === 0);
  if (stray !== undefined) throw strayed(stray, provider);
  if (direction === "forward" || !isUnderWay) {
    const step = catchUp(parties, state);
    if (step !== undefined || !isUnderWay) return step;
  }
  const to = direction === "forward" ? "new" : "old";
  const other = clients.find(({ wanted }) => !wanted.includes(to));
  if (other !== undefined) {
    if (mayDeploy({ ...other, wanted: [to] }, state)) return { do: "change", service: other.service, to };
    const step = catchUp([provider], state);
    if (step === undefined) throw blocked([provider]);
    return step;
  }
  const sending = clients.filter(({ running }) => !running.every((sent) => isIn(sent, [to])));
  return catchUp(sending, state) ?? { do: "change", service: provider.service, to };
}

/** Both values are accepted. */
export function underWay({ provider }: RolloutState): boolean {
  return provider.wanted.length > 1;
}

function catchUp(parties: PartyState[], state: RolloutState): Step | undefined {
  const behind = parties.filter(isBehind);
  if (behind.length === 0) return undefined;
  const possible = behind.find((party) => mayDeploy(party, state));
  if (possible === undefined) throw blocked(behind);
  return { do: "deploy", service: possible.service };
}

/** Pods may run with another value than the committed one. A service that is not deployed is left so. */
export function isBehind({ wanted, running }: PartyState): boolean {
  return running.some((labels) => !isIn(labels, wanted) || !isIn(wanted, labels));
}

function mayDeploy(party: PartyState, { provider, clients }: RolloutState): boolean {
  if (party.service === provider.service) {
    return clients.every(({ running }) => running.every((sent) => isIn(sent, party.wanted)));
  }
  return provider.running.length > 0 && provider.running.every((accepted) => isIn(party.wanted, accepted));
}

function isIn(some: Label[], all: Label[]): boolean {
  return some.every((label) => label !== "other" && all.includes(label));
}

function strayed(client: PartyState, provider: PartyState): UserError {
  const what = client.wanted.length === 0 ? "no value" : "a value that is none of those";
  return new UserError(`${client.service} has ${what} that ${provider.service} accepts`, {
    code: "conflict",
    fix: `Give ${client.service} the value that ${provider.service} has, and commit it.`,
  });
}

function blocked(behind: PartyState[]): UserError {
  const names = behind.map(({ service }) => service).join(" and ");
  return new UserError(
    `what is committed of ${names} cannot be deployed: a client would send what is not accepted`,
    {
      code: "conflict",
      fix: "Look at `kws secrets rollout status`; deploy a version of the provider that accepts both values first.",
    },
  );
}
