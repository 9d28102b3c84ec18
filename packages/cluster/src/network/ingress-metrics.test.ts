import { expect, test } from "vitest";
import { IngressMetrics, type Served } from "./ingress-metrics.ts";

const served: Served = {
  host: "web.localhost",
  path: '/"a\\b"',
  namespace: "default",
  ingress: "web",
  service: "web",
  canary: "",
  method: "GET",
  status: 200,
};

test("requests are counted by their labels, and their times fall into buckets that include the shorter ones", () => {
  const metrics = new IngressMetrics();
  for (const seconds of [0.001, 0.04, 0.04, 60]) metrics.count(served, seconds);
  metrics.count({ ...served, status: 503 }, 0);
  const labels =
    'host="web.localhost",path="/\\"a\\\\b\\"",namespace="default",ingress="web",service="web",canary="",method="GET",status="200"';
  const name = "nginx_ingress_controller_request_duration_seconds";
  const lines = metrics.text().split("\n");
  expect(lines).toContain(`nginx_ingress_controller_requests{${labels}} 4`);
  expect(lines).toContain(`${name}_bucket{${labels},le="0.005"} 1`);
  expect(lines).toContain(`${name}_bucket{${labels},le="0.025"} 1`);
  expect(lines).toContain(`${name}_bucket{${labels},le="0.05"} 3`);
  expect(lines).toContain(`${name}_bucket{${labels},le="10"} 3`);
  expect(lines).toContain(`${name}_bucket{${labels},le="+Inf"} 4`);
  expect(lines).toContain(`${name}_count{${labels}} 4`);
  expect(lines.filter((line) => line.startsWith("nginx_ingress_controller_requests{"))).toHaveLength(2);
  expect(metrics.text().endsWith("\n")).toBe(true);
});
