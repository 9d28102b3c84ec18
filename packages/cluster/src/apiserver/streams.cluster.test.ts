import { spawn as spawnProcess } from "node:child_process";
import { createServer, connect, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nodes, pods, serviceAccounts } from "@kws/kube/resources";
import { apiError } from "@kws/kube/status";
import type { ExecSession } from "../kubelet/runtime.ts";
import type { NodeStreams } from "../kubelet/streams.ts";
import { unpackClients, type Clients } from "./testing/clients.ts";
import { startTestServer, type TestServer } from "./testing/server.ts";

let cluster: TestServer;
let clients: Clients;
let echo: Server;

/** A "container" that is a process of this machine; its port 80 is the echo server's. */
const streams: NodeStreams = {
  async logs(_pod, { container }) {
    if (container === "missing") throw apiError("BadRequest", "container missing is not valid for pod p");
    return (async function* () {
      yield Buffer.from("line one\n");
      yield Buffer.from("line two\n");
    })();
  },
  exec: (_pod, { command }) => Promise.resolve(run(command)),
  attach: () => Promise.resolve(run(["cat"])),
  usage: () => Promise.reject(new Error("nothing is measured here")),
  async portForward(_pod, port) {
    if (port !== 80) throw new Error("connection refused");
    const socket = connect((echo.address() as AddressInfo).port, "127.0.0.1");
    await once(socket, "connect");
    return socket;
  },
};

function run(argv: string[]): ExecSession {
  const child = spawnProcess(argv[0] ?? "", argv.slice(1));
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    resize() {},
    exit: once(child, "close").then(([code]) => Number(code)),
    close: () => void child.kill(),
  };
}

beforeAll(async () => {
  echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  cluster = await startTestServer({ streams: () => streams });
  clients = await unpackClients(cluster.server.kubeconfig());
  const { client } = cluster;
  await client.create(nodes, { apiVersion: "v1", kind: "Node", metadata: { name: "n" } });
  const account = { name: "default", namespace: "default" };
  await client.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: account });
  await client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "default" },
    spec: { nodeName: "n", containers: [{ name: "c", image: "i", ports: [{ containerPort: 80 }] }] },
  });
  await client.patch(
    pods,
    "p",
    "default",
    "merge",
    { status: { phase: "Running" } },
    { subresource: "status" },
  );
});
afterAll(async () => {
  await clients.close();
  await cluster.close();
  echo.close();
});

test("logs are streamed", async () => {
  expect((await clients.kubectl(["logs", "p"])).stdout).toBe("line one\nline two");
});

test.each([
  ["WebSocket", "true"],
  ["SPDY", "false"],
])("exec over %s carries input, both outputs and the exit code", async (_, webSockets) => {
  const script = "cat; echo wrong >&2; exit 3";
  const environment = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: webSockets };
  const args = ["exec", "-i", "p", "--", "sh", "-c", script];
  const { exitCode, stdout, stderr } = await clients.kubectl(args, { input: "hello", env: environment });
  expect([exitCode, stdout, stderr.split("\n")[0]]).toEqual([3, "hello", "wrong"]);
});

test("a large output arrives whole", async () => {
  const { stdout } = await clients.kubectl([
    "exec",
    "p",
    "--",
    "sh",
    "-c",
    "head -c 3000000 /dev/zero | tr '\\0' x",
  ]);
  expect(stdout.length).toBe(3_000_000);
});

test.each([
  ["WebSocket", "true"],
  ["SPDY", "false"],
])(
  "a forwarded port over %s carries bytes in both directions, for several connections",
  async (_, webSockets) => {
    const child = spawnProcess(join(clients.folder, "kubectl"), ["port-forward", "p", ":80"], {
      env: {
        KUBECONFIG: join(clients.folder, "kubeconfig"),
        HOME: clients.folder,
        KUBECTL_PORT_FORWARD_WEBSOCKETS: webSockets,
      },
    });
    const ended = once(child, "exit");
    let port = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      port = Number(/127\.0\.0\.1:(\d+) ->/.exec(line)?.[1] ?? 0);
      if (port !== 0) break;
    }
    const exchange = async (text: string): Promise<string> => {
      const socket = connect(port, "127.0.0.1");
      socket.end(text);
      let answer = "";
      for await (const chunk of socket.setEncoding("utf8")) answer += chunk;
      return answer;
    };
    const texts = ["hello", "x".repeat(200_000), "third"];
    expect(await Promise.all(texts.map(exchange))).toEqual(texts);
    child.kill();
    await ended;
  },
);
