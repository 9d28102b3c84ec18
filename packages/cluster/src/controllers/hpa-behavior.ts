/**
 * How fast an autoscaler may follow what its metrics ask for: stabilization windows and scaling policies
 * (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior).
 */
export interface ScalingRules {
  stabilizationWindowSeconds?: number;
  selectPolicy?: string;
  policies?: { type: string; value: number; periodSeconds: number }[];
  /** A quantity, such as `0.05`. */
  tolerance?: string;
}

export interface Behavior {
  scaleUp?: ScalingRules;
  scaleDown?: ScalingRules;
}

/** What an autoscaler remembers of itself. */
export interface History {
  recommendations: { replicas: number; time: number }[];
  /** Changes that were made; negative for fewer replicas. */
  changes: { by: number; time: number }[];
}

export interface Limits {
  min: number;
  max: number;
  behavior: Behavior | undefined;
}

/** A condition's word and sentence, as upstream has them. */
export interface Verdict {
  reason: string;
  message: string;
}

export interface Decision {
  replicas: number;
  /** Why recent recommendations hold this one back, or that nothing does: of the condition AbleToScale. */
  able: Verdict;
  /** Of the condition ScalingLimited, true where a limit changed the number. */
  limited: Verdict & { limited: boolean };
}

type Rules = Required<Omit<ScalingRules, "tolerance">>;

const defaults: Record<keyof Behavior, Rules> = {
  scaleUp: {
    stabilizationWindowSeconds: 0,
    selectPolicy: "Max",
    policies: [
      { type: "Pods", value: 4, periodSeconds: 15 },
      { type: "Percent", value: 100, periodSeconds: 15 },
    ],
  },
  scaleDown: {
    stabilizationWindowSeconds: 300,
    selectPolicy: "Max",
    policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
  },
};

function rulesOf(behavior: Behavior | undefined, direction: keyof Behavior): Rules {
  return { ...defaults[direction], ...behavior?.[direction] };
}

/** The recommendation is remembered; a change is for the caller to remember once it is made (`remember`). */
export function decide(
  history: History,
  current: number,
  wanted: number,
  limits: Limits,
  now: number,
): Decision {
  const stable = stabilized(history, current, wanted, limits.behavior, now);
  const { replicas, ...verdict } = limitedTo(history, current, stable.replicas, limits, now);
  return { replicas, able: stable.verdict, limited: { ...verdict, limited: replicas !== stable.replicas } };
}

/** Forgets what no policy looks back to any more. */
export function remember(history: History, by: number, behavior: Behavior | undefined, now: number): void {
  const policies = [...rulesOf(behavior, "scaleUp").policies, ...rulesOf(behavior, "scaleDown").policies];
  const longest = Math.max(...policies.map(({ periodSeconds }) => periodSeconds)) * 1000;
  history.changes = [...history.changes.filter(({ time }) => time > now - longest), { by, time: now }];
}

function stabilized(
  history: History,
  current: number,
  wanted: number,
  behavior: Behavior | undefined,
  now: number,
): { replicas: number; verdict: Verdict } {
  const up = rulesOf(behavior, "scaleUp").stabilizationWindowSeconds * 1000;
  const down = rulesOf(behavior, "scaleDown").stabilizationWindowSeconds * 1000;
  const rising = wanted >= current;
  const recent = history.recommendations
    .filter(({ time }) => time > now - (rising ? up : down))
    .map(({ replicas }) => replicas);
  const replicas = rising ? Math.min(wanted, ...recent) : Math.max(wanted, ...recent);
  history.recommendations = [
    ...history.recommendations.filter(({ time }) => time >= now - Math.max(up, down)),
    { replicas: wanted, time: now },
  ];
  if (replicas === wanted) {
    const message = "recommended size matches current size";
    return { replicas, verdict: { reason: "ReadyForNewScale", message } };
  }
  const [reason, than, which] = rising
    ? ["ScaleUpStabilized", "lower", "lowest"]
    : ["ScaleDownStabilized", "higher", "highest"];
  const message = `recent recommendations were ${than} than current one, applying the ${which} recent recommendation`;
  return { replicas, verdict: { reason, message } };
}

function limitedTo(
  history: History,
  current: number,
  wanted: number,
  { min, max, behavior }: Limits,
  now: number,
): Verdict & { replicas: number } {
  if (wanted > current) {
    const most = Math.max(current, furthest("scaleUp", history, current, behavior, now));
    if (wanted > Math.min(max, most)) {
      return max > most
        ? {
            replicas: most,
            reason: "ScaleUpLimit",
            message: "the desired replica count is increasing faster than the maximum scale rate",
          }
        : {
            replicas: max,
            reason: "TooManyReplicas",
            message: "the desired replica count is more than the maximum replica count",
          };
    }
  }
  if (wanted < current) {
    const least = Math.min(current, furthest("scaleDown", history, current, behavior, now));
    if (wanted < Math.max(min, least)) {
      return min < least
        ? {
            replicas: least,
            reason: "ScaleDownLimit",
            message: "the desired replica count is decreasing faster than the maximum scale rate",
          }
        : {
            replicas: min,
            reason: "TooFewReplicas",
            message: "the desired replica count is less than the minimum replica count",
          };
    }
  }
  const message = "the desired count is within the acceptable range";
  return { replicas: wanted, reason: "DesiredWithinRange", message };
}

/** The number of replicas that the policies of one direction allow now. */
function furthest(
  direction: keyof Behavior,
  { changes }: History,
  current: number,
  behavior: Behavior | undefined,
  now: number,
): number {
  const { selectPolicy, policies } = rulesOf(behavior, direction);
  if (selectPolicy === "Disabled") return current;
  const up = direction === "scaleUp";
  const allowed = policies.map(({ type, value, periodSeconds }) => {
    const before = changes
      .filter(({ by, time }) => by > 0 === up && time > now - periodSeconds * 1000)
      .reduce((start, { by }) => start - by, current);
    const by = type === "Percent" ? (before * value) / 100 : value;
    return up ? Math.ceil(before + by) : Math.trunc(before - by);
  });
  const most = up === (selectPolicy !== "Min");
  return most ? Math.max(...allowed) : Math.min(...allowed);
}
