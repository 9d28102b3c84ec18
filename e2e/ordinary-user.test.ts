/** The product for a user who is not root: everything happens in user namespaces of their own. */
import { chown, cp, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ordinaryUser } from "@kws/cluster/kubelet/testing/ordinary-user";
import { jobs, pods, secrets, services } from "@kws/kube/resources";
import { newKws, repository, type Kws } from "./kws.ts";

/** Where there is no other one, the user that runs the suite: what holds for this one holds for them. */
const user = ordinaryUser;

let kws: Kws;
let workspace: string;

beforeAll(async () => {
  kws = await newKws(user === undefined ? {} : { user });
  workspace = join(kws.home, "workspace");
  await cp(join(repository, "examples/shop/postgres"), join(workspace, "postgres"), { recursive: true });
  await writeFile(
    join(workspace, "kws.yaml"),
    "name: db\nservices:\n  postgres: { path: ./postgres }\nstacks:\n  db: { profile: local, services: [postgres] }\n",
  );
  if (user !== undefined) await giveAway(workspace, user);
});
afterAll(() => kws[Symbol.asyncDispose]());

async function giveAway(folder: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  await chown(folder, uid, gid);
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isSymbolicLink()) await chown(join(entry.parentPath, entry.name), uid, gid);
  }
}

/** Opens the database to this machine. */
async function serveDatabase(): Promise<void> {
  await (
    await kws.client()
  ).create(services, {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "outside", namespace: "db" },
    spec: {
      type: "NodePort",
      selector: { "app.kubernetes.io/name": "postgres" },
      ports: [{ port: 5432, targetPort: "postgres" }],
    },
  });
}

async function sql(statement: string): Promise<unknown[]> {
  const client = await kws.client();
  const { spec } = await client.get(services, "outside", "db");
  const secret = await client.get(secrets, "postgres", "db");
  const database = new pg.Client({
    host: "127.0.0.1",
    port: spec.ports[0].nodePort,
    user: "postgres",
    password: Buffer.from(secret["data"].password, "base64").toString(),
    database: "postgres",
  });
  await database.connect();
  try {
    return (await database.query(statement)).rows;
  } finally {
    await database.end();
  }
}

/** The port on this machine follows the Service in a moment. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  let result: T | undefined;
  await vi.waitFor(async () => (result = await attempt()), { timeout: 10_000, interval: 50 });
  return result as T;
}

test("PostgreSQL runs under its own uid, shuts down cleanly and keeps its data over a stop and a start", async () => {
  const start = await kws.run(["stack", "start", "db"], { cwd: workspace });
  expect(start.code, start.stderr).toBe(0);
  const id = await kws.run(["service", "exec", "postgres", "--stack", "db", "--", "id", "-u"], {
    cwd: workspace,
  });
  expect(id.stdout.trim()).toBe("1000");
  await serveDatabase();
  await eventually(() => sql("create table kept as select 'this' as what"));
  const before = (await (await kws.client()).list(pods, "db")).items.map(({ metadata }) => metadata.uid);

  expect((await kws.run(["cluster", "stop"])).code).toBe(0);
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
  const again = await kws.run(["stack", "start", "db"], { cwd: workspace });
  expect(again.code, again.stderr).toBe(0);

  expect(await eventually(() => sql("select what from kept"))).toEqual([{ what: "this" }]);
  const { items } = await (await kws.client()).list(pods, "db");
  expect(items.map(({ metadata }) => metadata.uid)).toEqual(before);
  const [status] = items[0]?.["status"].containerStatuses ?? [];
  expect(status).toMatchObject({ restartCount: 1, lastState: { terminated: { exitCode: 0 } } });
});

test("reset leaves nothing, whatever permissions containers gave their files", async () => {
  const client = await kws.client();
  await client.create(jobs, {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "odd", namespace: "default" },
    spec: {
      template: {
        spec: {
          restartPolicy: "Never",
          volumes: [{ name: "files", emptyDir: {} }],
          containers: [
            {
              name: "odd",
              image: "kws.local/node:24",
              command: [
                "sh",
                "-c",
                "mkdir -p /odd/a /v/a && touch /odd/a/b /v/a/b && chmod 0 /odd/a/b /odd/a /v/a/b /v/a",
              ],
              volumeMounts: [{ name: "files", mountPath: "/v" }],
            },
          ],
        },
      },
    },
  });
  const events = client.watch(jobs, "default", {
    sendInitialEvents: true,
    signal: AbortSignal.timeout(30_000),
  });
  for await (const { object } of events) if (object["status"]?.succeeded === 1) break;
  const reset = await kws.run(["demo", "--clean"]);
  expect(reset.code, reset.stderr).toBe(0);
  expect(kws.processes()).toEqual([]);
  expect(await readdir(join(kws.home, ".local/share/kws"), { recursive: true })).toEqual(["clusters"]);
});
