import { expect, test } from "vitest";
import { decide, remember, type Behavior, type History } from "./hpa-behavior.ts";

const second = 1000;

/** Follows recommendations, `[time in seconds, wanted]`, and answers the replicas after each. */
function follow(
  start: number,
  wanted: [number, number][],
  behavior?: Behavior,
  min = 1,
  max = 100,
): number[] {
  const history: History = { recommendations: [{ replicas: start, time: 0 }], changes: [] };
  let current = start;
  return wanted.map(([at, count]) => {
    const { replicas } = decide(history, current, count, { min, max, behavior }, at * second);
    if (replicas !== current) remember(history, replicas - current, behavior, at * second);
    current = replicas;
    return current;
  });
}

test("without a behavior it grows by four pods or twofold each 15 seconds, whichever is more", () => {
  expect(
    follow(1, [
      [0, 50],
      [15, 50],
      [30, 50],
      [45, 50],
      [60, 50],
    ]),
  ).toEqual([5, 10, 20, 40, 50]);
});

test("without a behavior it shrinks to what was the highest recommendation of the last five minutes", () => {
  expect(
    follow(10, [
      [15, 2],
      [150, 6],
      [299, 2],
      [301, 2],
      [451, 2],
    ]),
  ).toEqual([10, 10, 10, 6, 2]);
});

test("a window for growing takes the lowest recent recommendation", () => {
  const behavior = { scaleUp: { stabilizationWindowSeconds: 60 } };
  expect(
    follow(
      2,
      [
        [30, 5],
        [59, 4],
        [61, 5],
        [121, 5],
      ],
      behavior,
    ),
  ).toEqual([2, 2, 4, 5]);
});

test("policies count what was changed within their own periods", () => {
  const policies = [{ type: "Pods", value: 2, periodSeconds: 60 }];
  const behavior = { scaleDown: { stabilizationWindowSeconds: 0, policies } };
  expect(
    follow(
      10,
      [
        [0, 1],
        [30, 1],
        [61, 1],
        [122, 7],
      ],
      behavior,
    ),
  ).toEqual([8, 8, 6, 7]);
});

test("of several policies the one with the most or, where asked, the least effect counts", () => {
  const policies = [
    { type: "Pods", value: 1, periodSeconds: 60 },
    { type: "Percent", value: 50, periodSeconds: 60 },
  ];
  const down = (selectPolicy: string) => ({
    scaleDown: { stabilizationWindowSeconds: 0, selectPolicy, policies },
  });
  expect(follow(9, [[0, 1]], down("Max"))).toEqual([4]);
  expect(follow(9, [[0, 1]], down("Min"))).toEqual([8]);
  expect(follow(9, [[0, 1]], down("Disabled"))).toEqual([9]);
  expect(follow(9, [[0, 50]], { scaleUp: { selectPolicy: "Min", policies } })).toEqual([10]);
  expect(follow(9, [[0, 50]], { scaleUp: { selectPolicy: "Max", policies } })).toEqual([14]);
});

test("the decision says what limits it", () => {
  const reasonOf = (current: number, wanted: number, min = 2, max = 8) => {
    const history: History = { recommendations: [], changes: [] };
    const behavior = { scaleDown: { stabilizationWindowSeconds: 0 } };
    const { replicas, limited, able } = decide(history, current, wanted, { min, max, behavior }, 0);
    return [replicas, able.reason, limited.reason, limited.limited];
  };
  expect(reasonOf(4, 5)).toEqual([5, "ReadyForNewScale", "DesiredWithinRange", false]);
  expect(reasonOf(4, 20)).toEqual([8, "ReadyForNewScale", "TooManyReplicas", true]);
  expect(reasonOf(2, 20, 1, 50)).toEqual([6, "ReadyForNewScale", "ScaleUpLimit", true]);
  expect(reasonOf(4, 1)).toEqual([2, "ReadyForNewScale", "TooFewReplicas", true]);
});
