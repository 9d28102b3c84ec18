import { expect, test } from "vitest";
import { devTemplate, type DevContainer, type PodTemplate } from "./container.ts";

const original: PodTemplate = {
  metadata: { labels: { app: "web" }, annotations: { "checksum/configuration": "1" } },
  spec: {
    serviceAccountName: "web",
    volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
    initContainers: [{ name: "migrate", image: "shop/web:1" }],
    containers: [
      {
        name: "web",
        image: "shop/web:1",
        args: ["--production"],
        env: [{ name: "TOKEN", value: "t" }],
        envFrom: [{ secretRef: { name: "web" } }],
        volumeMounts: [{ name: "data", mountPath: "/data" }],
        livenessProbe: { httpGet: { path: "/healthz", port: 8080 } },
        startupProbe: { httpGet: { path: "/healthz", port: 8080 } },
        readinessProbe: {
          httpGet: { path: "/readyz", port: 8080 },
          periodSeconds: 10,
          initialDelaySeconds: 30,
        },
        securityContext: { readOnlyRootFilesystem: true, runAsUser: 1000 },
      },
      { name: "proxy", image: "proxy:1" },
    ],
  },
};

const dev: DevContainer = {
  service: "web",
  container: "web",
  command: ["node", "server.js"],
  env: {},
  workdir: "/app",
  mount: "/home/ann/web",
  keep: [],
};

test("environment, secrets, volumes, sidecars, identity and labels stay", () => {
  const { metadata, spec } = devTemplate(original, dev);
  const [web, proxy] = spec.containers;
  expect(metadata?.labels).toEqual({ app: "web", "kws.dev/dev": "web" });
  expect(spec["serviceAccountName"]).toBe("web");
  expect(web?.env).toEqual([{ name: "TOKEN", value: "t" }]);
  expect(web?.["envFrom"]).toEqual([{ secretRef: { name: "web" } }]);
  expect(web?.volumeMounts?.[0]).toEqual({ name: "data", mountPath: "/data" });
  expect(web?.securityContext).toEqual({ readOnlyRootFilesystem: true, runAsUser: 1000 });
  expect(proxy).toEqual({ name: "proxy", image: "proxy:1" });
  expect(spec.initContainers).toEqual(original.spec.initContainers);
});

test("the command runs under process 1 in the mounted source, and nothing but readiness is asked of it", () => {
  const [web] = devTemplate(original, dev).spec.containers;
  expect(web?.command?.slice(-3)).toEqual(["now", "node", "server.js"]);
  expect(web).not.toHaveProperty("args");
  expect(web).not.toHaveProperty("livenessProbe");
  expect(web).not.toHaveProperty("startupProbe");
  expect(web?.readinessProbe).toMatchObject({
    periodSeconds: 1,
    initialDelaySeconds: 0,
    failureThreshold: 60,
  });
  expect(web?.workingDir).toBe("/app");
  expect(web?.volumeMounts?.map(({ mountPath }) => mountPath)).toEqual(["/data", "/.kws", "/app"]);
});

test("a process that stands at a breakpoint stays ready for ten minutes", () => {
  const [web] = devTemplate(original, { ...dev, debugged: true }).spec.containers;
  expect(web?.readinessProbe).toMatchObject({ timeoutSeconds: 600, failureThreshold: 60 });
});

test("Kubernetes leaves the script of process 1 as it is: it doubles no dollar sign", () => {
  const [web] = devTemplate(original, dev).spec.containers;
  expect(web?.command?.[2]).not.toContain("$$");
});

test("folders to keep are copied out of the image before the source is mounted over them", () => {
  const { spec } = devTemplate(original, { ...dev, keep: ["node_modules"], image: "shop/web:2" });
  const [keeper, migrate] = spec.initContainers ?? [];
  expect(keeper).toMatchObject({
    image: "shop/web:2",
    command: expect.arrayContaining(["/app/node_modules"]),
  });
  expect(keeper?.volumeMounts).toEqual([{ name: "kws-dev-keep-0", mountPath: "/.kws-copy/0" }]);
  expect(migrate?.name).toBe("migrate");
  expect(spec.containers[0]?.volumeMounts).toContainEqual({
    name: "kws-dev-keep-0",
    mountPath: "/app/node_modules",
  });
});

test("where files are copied into the container, they go to a volume with what the image has there", () => {
  const { mount: _mount, ...copied } = dev;
  const { spec } = devTemplate(original, { ...copied, keep: ["node_modules"] });
  const [web] = spec.containers;
  expect(web?.command?.slice(-3)).toEqual(["later", "node", "server.js"]);
  expect(web?.volumeMounts).toContainEqual({ name: "kws-dev-source", mountPath: "/app" });
  expect(spec.volumes).toContainEqual({ name: "kws-dev-source", emptyDir: {} });
  expect(spec.initContainers?.[0]).toMatchObject({
    command: expect.arrayContaining(["/app"]),
    volumeMounts: [{ name: "kws-dev-source", mountPath: "/.kws-copy/0" }],
  });
});

test("variables of the dev container win over those of the service", () => {
  const [web] = devTemplate(original, { ...dev, env: { TOKEN: "d", DEBUG: "1" } }).spec.containers;
  expect(web?.env).toEqual([
    { name: "TOKEN", value: "d" },
    { name: "DEBUG", value: "1" },
  ]);
});
