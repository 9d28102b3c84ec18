/** A runtime for the tests of a file, and what they ask of its containers. */
import { chownSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { silent } from "@kws/base/logger";
import { afterAll, beforeAll, describe, expect, vi } from "vitest";
import type { Container, ContainerSpec, ExecSpec, Runtime } from "../runtime.ts";
import { startSandboxRuntime, type SandboxRuntime } from "../runtimes/sandbox/start.ts";
import type { ClusterRuntime } from "../runtimes/cluster-runtime.ts";
import { isRoot, ordinaryUser } from "./ordinary-user.ts";
import { makeFixture, type Fixture } from "./runtime-fixture.ts";

export interface Harness<R extends ClusterRuntime = ClusterRuntime> {
  fixture: Fixture;
  started: R;
  runtime: Runtime;
  /** Final states of containers, as they come. */
  exits: Map<string, Container>;
  /** The user as whom the agent runs, where that is not this one. */
  user: { uid: number; gid: number } | undefined;
  rootless: boolean;
  /** Finds what runs for the fixture's data folder, or starts it. */
  connect: () => Promise<void>;
  exitOf: (id: string) => Promise<Container>;
  /** Runs a container of the pod `pod` to its end. */
  run: (
    argv: string[],
    changes?: Partial<ContainerSpec>,
  ) => Promise<{ id: string; code: number | undefined; log: string; container: Container }>;
  /** A container's log without its times. */
  logOf: (id: string) => string;
  exec: (
    id: string,
    argv: string[],
    input?: string,
    changes?: Partial<ExecSpec>,
  ) => Promise<{ stdout: string; stderr: string; code: number }>;
  /** A folder on the machine, for a volume, that containers may write to. */
  folder: () => string;
}

const users: { title: string; user?: { uid: number; gid: number } }[] = [
  { title: isRoot ? "root" : "this user" },
  ...(ordinaryUser === undefined ? [] : [{ title: "an ordinary user", user: ordinaryUser }]),
];

/** Declares the tests once for each user. The harness is ready when they run; a pod `pod` stands. */
export function describeSandbox(subject: string, tests: (harness: Harness<SandboxRuntime>) => void): void {
  describe.each(users)(`${subject}, of the sandbox runtime of $title`, ({ user }) => {
    const start = (dataDir: string) => startSandboxRuntime({ dataDir, logger: silent, user });
    withRuntime({ user, start }, tests);
  });
}

export interface Beginning<R extends ClusterRuntime> {
  user?: { uid: number; gid: number } | undefined;
  /** Before the first start. */
  prepare?: (fixture: Fixture) => Promise<void>;
  start: (dataDir: string) => Promise<R>;
}

/** Declares the tests for one runtime. */
export function withRuntime<R extends ClusterRuntime>(
  { user, prepare, start }: Beginning<R>,
  tests: (harness: Harness<R>) => void,
): void {
  let wake: () => void = () => undefined;
  let serial = 0;
  const harness = {
    user,
    rootless: user !== undefined || !isRoot,
    async connect() {
      const dataDir = join(harness.fixture.folder, "data");
      harness.started = await start(dataDir);
      harness.runtime = harness.started.runtime;
      harness.exits = new Map();
      harness.runtime.onExit((container) => {
        harness.exits.set(container.id, container);
        wake();
      });
    },
    async exitOf(id) {
      for (;;) {
        const container = harness.exits.get(id);
        if (container) return container;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    async run(argv, changes) {
      const id = `c${++serial}`;
      await harness.runtime.startContainer(harness.fixture.container(id, "pod", argv, changes));
      const container = await harness.exitOf(id);
      return { id, code: container.exitCode, log: harness.logOf(id), container };
    },
    logOf: (id) =>
      readFileSync(join(harness.fixture.folder, "logs", `${id}.log`), "utf8").replaceAll(
        /^\S+ (stdout|stderr) ([FP]) /gm,
        "$1 $2 ",
      ),
    async exec(id, argv, input, changes) {
      const stdin = input !== undefined;
      const session = await harness.runtime.exec(id, { argv, tty: false, stdin, ...changes });
      if (stdin) session.stdin.end(input);
      const [stdout, stderr, code] = await Promise.all([
        text(session.stdout),
        text(session.stderr),
        session.exit,
      ]);
      return { stdout, stderr, code };
    },
    folder() {
      const folder = join(harness.fixture.folder, `volume${++serial}`);
      mkdirSync(folder, { mode: 0o777 });
      if (user) chownSync(folder, user.uid, user.gid);
      return folder;
    },
  } as Harness<R>;

  beforeAll(async () => {
    harness.fixture = await makeFixture(user);
    const dataDir = join(harness.fixture.folder, "data");
    mkdirSync(dataDir);
    if (user) chownSync(dataDir, user.uid, user.gid);
    await prepare?.(harness.fixture);
    await harness.connect();
    await harness.runtime.runPodSandbox(harness.fixture.pod("pod"));
  });
  afterAll(async () => {
    await harness.started.stop();
    rmSync(harness.fixture.folder, { recursive: true, force: true });
  });
  tests(harness);
}

/** All that a stream says until its end. */
export async function text(stream: Readable | Duplex): Promise<string> {
  let all = "";
  for await (const chunk of stream) all += String(chunk);
  return all;
}

/** Fails where the condition does not come true in time. */
export async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 20_000, interval: 5 });
}
