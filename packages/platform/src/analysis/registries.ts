/** Whether registries let this user in: those that packages go to, and those that images come from. */
import { UserError } from "@kws/base/errors";
import { userCredentials } from "@kws/oci/credentials";
import { RegistryError } from "@kws/oci/failures";
import { parseReference, repositoryAddress } from "@kws/oci/reference";
import { openRegistries, type Registries } from "@kws/oci/registry";
import { loadUserConfig } from "../project/workspace.ts";
import { localRegistry } from "../providers/provider.ts";
import { type Check, faultFinding, type Finding, ok } from "./finding.ts";
import { imagesIn } from "./manifests.ts";
import type { Subject } from "./subject.ts";

/** Images that are asked for in each registry: the first tells whether we are let in. */
const perHost = 3;

const login: Check = {
  id: "registries",
  family: "machine",
  about:
    "the workspace's registry and those of its images are asked for a package or an image, with your own logins; whether you may push shows with a push alone",
  timeoutMs: 15_000,
  async run(subject, signal) {
    const { env } = subject;
    // A registry that hesitates is told of, not waited for.
    const registries = openRegistries({ env, credentials: userCredentials(env), retryDelayMs: 100 });
    const user = await loadUserConfig(subject.locations.config);
    const project = await subject.project();
    const registry = project?.workspace.registry ?? user.registry;
    const [service] = await subject.services();
    const packages =
      registry === undefined || service === undefined
        ? []
        : [packagesFinding(registries, registry, service.name, env, signal)];
    const images = (await wantedImages(subject)).map((image) => imageFinding(registries, image, signal));
    return Promise.all([...packages, ...images]);
  },
};

async function wantedImages(subject: Subject): Promise<string[]> {
  const rendered = await subject.rendered();
  const images = new Set(
    rendered.flatMap(({ objects }) => objects.flatMap(({ object }) => imagesIn(object))),
  );
  const byHost = new Map<string, string[]>();
  for (const image of images) {
    const host = hostOf(image);
    if (host === undefined || host === localRegistry) continue;
    byHost.set(host, [...(byHost.get(host) ?? []), image]);
  }
  return [...byHost.values()].flatMap((all) => all.slice(0, perHost));
}

/** Undefined for what is no reference; the cluster says so when it comes to it. */
function hostOf(image: string): string | undefined {
  try {
    return repositoryAddress(parseReference(image).name).host;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

export async function imageFinding(
  registries: Registries,
  image: string,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    const { name, tag, digest } = parseReference(image);
    const found = await registries.repository(name).resolve(digest ?? tag ?? "latest", { signal });
    if (found !== undefined) return ok(`${image} can be pulled`);
    return {
      severity: "error",
      where: image,
      message: "its registry answers, and has no such image",
      fix: "Correct the name in the chart's values, or push the image.",
    };
  } catch (error) {
    return refusal(image, error);
  }
}

export async function packagesFinding(
  registries: Registries,
  registry: string,
  service: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Finding> {
  const name = `${registry}/${service}`;
  try {
    const tags = await registries.repository(name).tags({ signal });
    const { host, path, credentials } = repositoryAddress(name);
    const known = (await userCredentials(env)(credentials, path)) !== undefined;
    return ok(
      `${host} lets you in ${known ? "with your login" : "without a login"}: ${name} has ${tags.length} tags`,
    );
  } catch (error) {
    return refusal(registry, error);
  }
}

function refusal(where: string, error: unknown): Finding {
  if (!(error instanceof UserError)) throw error;
  const refused = error instanceof RegistryError && (error.status === 401 || error.status === 403);
  // Without a network the images that are here already still run.
  return { ...faultFinding(error), severity: refused ? "error" : "warning", where };
}

export const registryChecks = [login];
