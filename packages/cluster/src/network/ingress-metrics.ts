/**
 * What the Ingress has served, in the Prometheus text format and by the names and labels of ingress-nginx
 * (https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/), so that a query written for the one fits the other.
 */
export interface Served {
  host: string;
  path: string;
  namespace: string;
  /** The Ingress and Service that the request was for, also where a canary answered it. */
  ingress: string;
  service: string;
  /** `namespace-service-port` of the canary that answered; empty where none did. */
  canary: string;
  method: string;
  /** 499 where the client left before it had its answer. */
  status: number;
}

/** Upper bounds in seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

interface Series {
  count: number;
  seconds: number;
  /** How many were at most as long as the bound at the same place, and longer than the one before. */
  buckets: number[];
}

export class IngressMetrics {
  readonly #series = new Map<string, Series>();

  count(served: Served, seconds: number): void {
    const labels = Object.entries(served)
      .map(([name, value]) => `${name}="${escaped(String(value))}"`)
      .join(",");
    const series = this.#series.get(labels) ?? { count: 0, seconds: 0, buckets: bounds.map(() => 0) };
    this.#series.set(labels, series);
    series.count += 1;
    series.seconds += seconds;
    const bucket = bounds.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1;
  }

  text(): string {
    const requests = "nginx_ingress_controller_requests";
    const duration = "nginx_ingress_controller_request_duration_seconds";
    const all = [...this.#series];
    const lines = [
      `# HELP ${requests} The total number of client requests`,
      `# TYPE ${requests} counter`,
      ...all.map(([labels, { count }]) => `${requests}{${labels}} ${count}`),
      `# HELP ${duration} The request processing time in seconds`,
      `# TYPE ${duration} histogram`,
      ...all.flatMap(([labels, series]) => histogram(duration, labels, series)),
    ];
    return `${lines.join("\n")}\n`;
  }
}

function histogram(name: string, labels: string, { count, seconds, buckets }: Series): string[] {
  let sum = 0;
  const below = bounds.map((bound, index) => {
    sum += buckets[index] ?? 0;
    return `${name}_bucket{${labels},le="${bound}"} ${sum}`;
  });
  return below.concat(
    `${name}_bucket{${labels},le="+Inf"} ${count}`,
    `${name}_sum{${labels}} ${seconds}`,
    `${name}_count{${labels}} ${count}`,
  );
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
