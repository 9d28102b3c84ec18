/** What /metrics tells: the process's own numbers, requests by route, and the streams that are open. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface Metrics {
  registry: Registry;
  requests: Histogram<"method" | "route" | "status">;
  streams: Gauge;
  deliveries: Counter<"forge" | "result">;
  notifications: Counter<"kind" | "result">;
  /** Refused because of a limit. */
  limited: Counter;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "kws_server_" });
  const registers = [registry];
  return {
    registry,
    requests: new Histogram({
      name: "kws_server_request_duration_seconds",
      help: "Time to answer requests, by route and status.",
      labelNames: ["method", "route", "status"],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    streams: new Gauge({ name: "kws_server_streams", help: "Live streams that are open.", registers }),
    deliveries: new Counter({
      name: "kws_server_webhook_deliveries_total",
      help: "Deliveries of webhooks, by what became of them.",
      labelNames: ["forge", "result"],
      registers,
    }),
    notifications: new Counter({
      name: "kws_server_notification_attempts_total",
      help: "Attempts to send notifications, by what became of them.",
      labelNames: ["kind", "result"],
      registers,
    }),
    limited: new Counter({
      name: "kws_server_limited_total",
      help: "Requests refused because of a limit.",
      registers,
    }),
  };
}
