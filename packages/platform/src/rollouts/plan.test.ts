import { expect, test } from "vitest";
import { isBehind, type Label, nextStep, type PartyState, type RolloutState, type Step } from "./plan.ts";

const party = (service: string, wanted: Label[], running: Label[][]): PartyState => ({
  service,
  wanted,
  committed: true,
  running,
});

/** A provider that was just given a second value, and two clients. */
const started: RolloutState = {
  provider: { ...party("payments", ["old", "new"], [["old"]]), committed: false },
  clients: [party("orders", ["old"], [["old"]]), party("mailer", ["old"], [["old"]])],
};

/** What a step may leave behind: it was done, or it failed and was undone, or it was killed half way. */
function outcomes(state: RolloutState, step: Step): { done: RolloutState; others: RolloutState[] } {
  const change = (update: (party: PartyState) => PartyState): RolloutState => ({
    provider: state.provider.service === step.service ? update(state.provider) : state.provider,
    clients: state.clients.map((one) => (one.service === step.service ? update(one) : one)),
  });
  if (step.do === "commit") return { done: change((one) => ({ ...one, committed: true })), others: [] };
  if (step.do === "change")
    return { done: change((one) => ({ ...one, wanted: [step.to], committed: false })), others: [] };
  const unique = (running: Label[][]) => [...new Map(running.map((one) => [one.join("+"), one])).values()];
  return {
    done: change((one) => ({ ...one, running: [one.wanted] })),
    others: [change((one) => ({ ...one, running: unique([one.wanted, ...one.running]) }))],
  };
}

function expectNobodyBroken({ provider, clients }: RolloutState): void {
  for (const { service, running } of clients)
    for (const sent of running)
      for (const accepted of provider.running)
        expect(accepted, `${service} sends ${sent.join()}`).toEqual(expect.arrayContaining(sent));
}

function finish(from: RolloutState, direction: "forward" | "back"): RolloutState {
  let state = from;
  for (let step = nextStep(state, direction); step !== undefined; step = nextStep(state, direction))
    state = outcomes(state, step).done;
  return state;
}

test("whatever is interrupted or turned round, no client ever sends what may not be accepted, and both ways end", () => {
  const seen = new Map<string, RolloutState>();
  const queue = [started];
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    const id = JSON.stringify(state);
    if (seen.has(id)) continue;
    seen.set(id, state);
    expectNobodyBroken(state);
    for (const direction of ["forward", "back"] as const) {
      const step = nextStep(state, direction);
      if (step === undefined) continue;
      const { done, others } = outcomes(state, step);
      queue.push(done, ...others);
    }
    for (const direction of ["forward", "back"] as const) {
      const { provider, clients } = finish(state, direction);
      const ended =
        state.provider.wanted.length > 1 ? [direction === "forward" ? "new" : "old"] : state.provider.wanted;
      for (const one of [provider, ...clients])
        expect(one).toMatchObject({ wanted: ended, running: [ended] });
    }
  }
  expect(seen.size).toBeGreaterThan(30);
});

test("one client moves at a time, in the order of the declaration, and the provider last", () => {
  const taken: string[] = [];
  let state = started;
  for (let step = nextStep(state, "forward"); step !== undefined; step = nextStep(state, "forward")) {
    taken.push(`${step.do} ${step.service}`);
    state = outcomes(state, step).done;
  }
  const each = (service: string) => ["change", "commit", "deploy"].map((verb) => `${verb} ${service}`);
  expect(taken).toEqual([
    ...each("payments").slice(1),
    ...each("orders"),
    ...each("mailer"),
    ...each("payments"),
  ]);
});

test("a client whose service is not deployed only gets the value", () => {
  const state = finish({ ...started, clients: [party("orders", ["old"], [])] }, "forward");
  expect(state.clients).toEqual([party("orders", ["new"], [])]);
  expect(state.provider).toEqual(party("payments", ["new"], [["new"]]));
});

test("a client that was set back by hand is deployed before the provider forgets its value", () => {
  const state: RolloutState = {
    provider: party("payments", ["new"], [["old", "new"]]),
    clients: [party("orders", ["new"], [["old"]])],
  };
  expect(nextStep(state, "forward")).toEqual({ do: "deploy", service: "orders" });
});

test.each<[string, RolloutState, string]>([
  [
    "a client with a value that nobody knows",
    { ...started, clients: [party("orders", ["other"], [["old"]])] },
    "orders has a value that is none of those that payments accepts",
  ],
  [
    "a client without a value",
    { ...started, clients: [party("orders", [], [["old"]])] },
    "orders has no value that payments accepts",
  ],
  [
    "a client that would send what only a later provider accepts, which would break another client",
    {
      provider: party("payments", ["new"], [["old"]]),
      clients: [party("orders", ["new"], [["old"]])],
    },
    "what is committed of payments and orders cannot be deployed",
  ],
])("%s is refused", (_name, state, message) => {
  const committed = { ...state, provider: { ...state.provider, committed: true } };
  expect(() => nextStep(committed, "forward")).toThrow(expect.objectContaining({ code: "conflict" }));
  expect(() => nextStep(committed, "forward")).toThrow(message);
});

test("a service is behind while a pod may run with another value, and never where it is not deployed", () => {
  expect(isBehind(party("orders", ["new"], [["new"]]))).toBe(false);
  expect(isBehind(party("orders", ["new"], [["new"], ["old"]]))).toBe(true);
  expect(isBehind(party("payments", ["old", "new"], [["old"]]))).toBe(true);
  expect(isBehind(party("orders", ["new"], []))).toBe(false);
});
