import { expect, test } from "vitest";
import { requestedMemory } from "./memory.ts";

const mebibyte = 2 ** 20;

test("each replica asks for what its containers request, or are limited to", () => {
  const manifests = `
# Source: shop/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
spec:
  replicas: 3
  template:
    spec:
      containers:
        - resources: { requests: { memory: 64Mi }, limits: { memory: 1Gi } }
        - resources: { limits: { memory: 32Mi } }
        - name: unbounded
---
apiVersion: apps/v1
kind: StatefulSet
spec: { template: { spec: { containers: [{ resources: { requests: { memory: 1048576 } } }] } } }
---
apiVersion: v1
kind: Service
spec: { ports: [{ port: 80 }] }
---
`;
  expect(requestedMemory(manifests)).toBe((3 * 96 + 1) * mebibyte);
});

test("what renders to nothing asks for nothing", () => {
  expect(requestedMemory("")).toBe(0);
});

test("what ends, and what the API server would refuse, asks for nothing", () => {
  const container = "{ name: a, resources: { requests: { memory: 1Gi } } }";
  const manifests = `
kind: Pod
metadata: { annotations: { helm.sh/hook: test } }
spec: { containers: [${container}] }
---
kind: Job
spec: { template: { spec: { containers: [${container}] } } }
---
kind: Deployment
spec:
---
kind: Deployment
spec: { replicas: 2, template: { spec: { containers: [{ resources: }, { resources: { requests: { memory: lots } } }, null] } } }
---
just text
---
kind: [
`;
  expect(requestedMemory(manifests)).toBe(0);
});
