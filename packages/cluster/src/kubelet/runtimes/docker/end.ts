/** Ends what a cluster has in a Docker Engine, with or without a daemon. */
import { connectEngine, isStatus, orMissing } from "./engine.ts";
import { removeUnusedImages } from "./images.ts";
import { labels, ofShare, shareOf, type EngineShare } from "./layout.ts";
import { removeNetwork } from "./network.ts";

/** True where anything ran. Ended containers stay, for the kubelet of the next start. */
export async function stopAll(share: EngineShare): Promise<boolean> {
  const { docker } = share;
  const running = await docker.listContainers({ filters: ofShare(share) });
  const workloads = running.filter(({ Labels }) => Labels[labels.container] !== undefined);
  await Promise.all(
    workloads.map(async ({ Id }) => {
      const container = docker.getContainer(Id);
      // One that stands still cannot be killed.
      await ignore(container.unpause(), 404, 409, 500);
      await ignore(container.kill({ signal: "SIGKILL" }), 404, 409);
      await orMissing(container.wait() as Promise<unknown>);
    }),
  );
  const others = await docker.listContainers({ all: true, filters: ofShare(share) });
  await Promise.all(
    others
      .filter(({ Labels }) => Labels[labels.container] === undefined)
      .map(({ Id }) => ignore(docker.getContainer(Id).remove({ force: true, v: true }), 404, 409)),
  );
  await removeNetwork(share);
  return running.length > 0;
}

/** Whether any container of the cluster whose runtime's folder that is runs. */
export async function holdsContainers(socketPath: string, dataDir: string): Promise<boolean> {
  using engine = await connectEngine(socketPath);
  const share = shareOf(engine.docker, "", dataDir);
  return (await engine.docker.listContainers({ filters: ofShare(share) })).length > 0;
}

/** From outside, for the cluster whose runtime's folder that is. */
export async function stopDockerRuntime(socketPath: string, dataDir: string): Promise<boolean> {
  using engine = await connectEngine(socketPath);
  return await stopAll(shareOf(engine.docker, "", dataDir));
}

/** Removes all that carries the cluster's label, and images that nobody needs any more. */
export async function resetDockerRuntime(socketPath: string, dataDir: string): Promise<void> {
  using engine = await connectEngine(socketPath);
  const { docker } = engine;
  const share = shareOf(docker, "", dataDir);
  await stopAll(share);
  const left = await docker.listContainers({ all: true, filters: ofShare(share) });
  await Promise.all(
    left.map(({ Id }) => ignore(docker.getContainer(Id).remove({ force: true, v: true }), 404, 409)),
  );
  await removeUnusedImages(docker);
}

async function ignore(work: Promise<unknown>, ...statuses: number[]): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isStatus(error, ...statuses)) throw error;
  }
}
