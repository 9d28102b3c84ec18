/** Finding a Docker Engine on this machine, and saying what it lacks. */
import { existsSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import Docker from "dockerode";

/** Of Docker 20.10. */
const oldestApi = [1, 41] as const;
const answerTimeoutMs = 10_000;

/**
 * The path of the engine's socket: what DOCKER_HOST says, or the first of the usual places. Throws `config` for an engine
 * elsewhere: it could not mount this machine's folders.
 */
export function engineSocket(
  env: NodeJS.ProcessEnv,
  home: string,
  exists: (path: string) => boolean = existsSync,
): string {
  const host = env["DOCKER_HOST"];
  if (host) {
    if (host.startsWith("unix://")) return host.slice("unix://".length);
    throw new UserError(`DOCKER_HOST is ${host}, and a cluster needs an engine on this machine`, {
      code: "config",
      fix: "Unset DOCKER_HOST, or set it to unix:// and the path of a local engine's socket.",
    });
  }
  const usual = ["/var/run/docker.sock", join(home, ".docker/run/docker.sock")];
  return usual.find(exists) ?? "/var/run/docker.sock";
}

/** Its end is that of requests that wait. */
export interface Engine extends Disposable {
  docker: Docker;
  /** How many processors its containers have. */
  cpus: number;
}

/** Throws a `UserError` that says why the engine cannot be used. */
export async function connectEngine(socketPath: string): Promise<Engine> {
  const agent = new Agent({ keepAlive: true });
  const options = { socketPath, agent };
  const docker = new Docker(options);
  const close = () => agent.destroy();
  const timer = setTimeout(close, answerTimeoutMs);
  try {
    const [version, info] = await Promise.all([
      docker.version(),
      docker.info() as Promise<{ OSType?: string; NCPU?: number }>,
    ]);
    const problem = unfit(version.ApiVersion, info.OSType);
    if (problem !== undefined) throw problem;
    return { docker, cpus: info.NCPU ?? 1, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error instanceof UserError ? error : unreachable(socketPath, error);
  } finally {
    clearTimeout(timer);
  }
}

function unreachable(socketPath: string, error: unknown): UserError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const denied = code === "EACCES";
  const fix = denied
    ? "Add your user to the group that may use it, such as docker, and log in again; or use `--runtime sandbox` on Linux."
    : "Start Docker, or set DOCKER_HOST to unix:// and the path of its socket; on Linux, `--runtime sandbox` needs no Docker.";
  return new UserError(`the Docker Engine at ${socketPath} cannot be used: ${messageOf(error)}`, {
    code: denied ? "permission" : "tool-missing",
    fix,
    cause: error,
  });
}

/** Why an engine that answers cannot hold a cluster's containers; undefined where it can. */
export function unfit(apiVersion: string, osType: string | undefined): UserError | undefined {
  const [major = 0, minor = 0] = apiVersion.split(".").map(Number);
  if (major < oldestApi[0] || (major === oldestApi[0] && minor < oldestApi[1])) {
    return new UserError(`the Docker Engine speaks version ${apiVersion} of its API, and 1.41 is needed`, {
      code: "tool-missing",
      fix: "Update Docker to 20.10 or newer.",
    });
  }
  if (osType !== undefined && osType !== "linux") {
    return new UserError(`the Docker Engine runs ${osType} containers`, {
      code: "config",
      fix: "Switch it to Linux containers.",
    });
  }
  return undefined;
}

/** Whether the engine answered that there is no such thing, or that it is in that state already. */
export function isStatus(error: unknown, ...statuses: number[]): boolean {
  return (
    error instanceof Error &&
    "statusCode" in error &&
    typeof error.statusCode === "number" &&
    statuses.includes(error.statusCode)
  );
}

/** Undefined where the engine knows no such thing. */
export async function orMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}
