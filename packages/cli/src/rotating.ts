/** What the commands of `kws secrets rollout` share: the credential, where it is deployed, and how its standing is shown. */
import { UserError } from "@kws/base/errors";
import { publishPackage, userRegistries } from "@kws/platform/packages/publish";
import type { Project, ProjectService } from "@kws/platform/project/workspace";
import { deploy } from "@kws/platform/releases/deploy";
import { unitOf } from "@kws/platform/releases/unit";
import { prepare } from "@kws/platform/packages/prepare";
import { type Credential, findCredential } from "@kws/platform/rollouts/credential";
import { nextStep, type RolloutState, type Step, underWay } from "@kws/platform/rollouts/plan";
import type { RolloutOptions } from "@kws/platform/rollouts/rollout";
import { runningValues } from "@kws/platform/rollouts/running";
import { secretOpener } from "@kws/platform/secrets/open";
import type { StackPlace } from "@kws/platform/stacks/ready";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import {
  deployOptions,
  deploySettings,
  packageSource,
  profileOption,
  stackFor,
  workFolder,
} from "./deploying.ts";
import { packageServices } from "./packaging.ts";
import { projectServices } from "./profiles.ts";
import { openTools } from "./secrets.ts";

export const credentialArgument = {
  name: "credential",
  description: "`provider/credential`, as the provider's kws.yaml declares it",
  required: true,
} as const;

const { registry, timeout } = deployOptions;
export const statusOptions = { profile: profileOption } as const;
export const rolloutOptions = { ...statusOptions, registry, timeout } as const;

interface Given {
  profile?: string;
  registry?: string;
  timeout?: number;
}

export interface Rotation {
  credential: Credential;
  place: StackPlace;
  options: RolloutOptions;
}

export async function openRotation(ctx: Context, name: string, given: Given): Promise<Rotation> {
  const project = await ctx.project();
  const credential = findCredential(await projectServices(ctx), name);
  const { profile } = given;
  if (profile === undefined) {
    throw new UserError("a credential is rotated with a profile", {
      code: "usage",
      fix: `Name it: --profile qa1. \`kws profile list ${credential.provider.service.name}\` shows those that there are.`,
    });
  }
  refuseClones(credential, project);
  const place = stackFor(project, profile, ctx.globals.namespace);
  const { client } = await ctx.connect();
  const { signal } = ctx;
  const options: RolloutOptions = {
    profile,
    decrypt: secretOpener(ctx, signal),
    git: { env: ctx.childEnv, signal },
    tools: await openTools(ctx, {}),
    runningValues: (service) =>
      runningValues(client, { namespace: place.namespace, profile, service, signal }),
    deploy: (service, reason) =>
      packageAndDeploy(ctx, service, { ...given, project, place, profile, reason }),
    commandFor: (step) => {
      const { namespace } = ctx.globals;
      return `kws secrets rollout ${step} ${name} -p ${profile}${namespace === undefined ? "" : ` -n ${namespace}`}`;
    },
    onCommit: (subject) => ctx.quiet || ctx.stderr.write(`${ctx.style.green("✓")} commit "${subject}"\n`),
  };
  return { credential, place, options };
}

/** What is committed there would be lost. */
function refuseClones({ provider, clients }: Credential, { workspace: { services = {} } }: Project): void {
  const isCloned = (name: string) => !Array.isArray(services) && "git" in (services[name] ?? {});
  const cloned = [provider, ...clients].find(({ service }) => isCloned(service.name));
  if (cloned === undefined) return;
  throw new UserError(`${cloned.service.name} is not on this machine as a folder of the workspace`, {
    code: "config",
    at: cloned.service.dir,
    fix: "Clone it yourself, and name its folder under services: the new value is committed there.",
  });
}

interface Target extends Given {
  project: Project;
  place: StackPlace;
  profile: string;
}

/** What is committed, by way of the registry where there is one. */
async function packageAndDeploy(
  ctx: Context,
  { name }: ProjectService,
  { project, place, profile, registry: given, timeout, reason }: Target & { reason: string },
): Promise<void> {
  const { signal } = ctx;
  const request = { names: [name], registry: given, allowDirty: false };
  const { steps, store, registry, packages } = await packageServices(ctx, request);
  const [made] = packages;
  if (made === undefined) throw new Error("a package was made");
  if (registry !== undefined) {
    const registries = userRegistries(ctx.childEnv);
    await steps.run({ id: `publish ${name}`, title: `publish ${name}` }, async (step) => {
      if (!(await publishPackage(made, { store, registries, signal }))) step.skip("unchanged");
    });
  }
  const source = await packageSource(ctx, project, given);
  await using work = await workFolder(ctx);
  const prepared = await prepare(
    { service: name, version: made.version, digest: made.digest },
    { source, folder: work.path, decrypt: secretOpener(ctx, signal), profile, settings: [], signal },
  );
  const provider = await ctx.provider();
  const settings = { project, stack: place, source, provider, steps, start: false, reason, timeout };
  await deploy([[unitOf(prepared)]], await deploySettings(ctx, settings));
}

export function rolloutResult({ credential, place, options }: Rotation, state: RolloutState): Result {
  const { next, problem } = planned(state);
  const parties = [state.provider, ...state.clients].map(
    ({ service, wanted, committed, running }, index) => ({
      service,
      role: index === 0 ? "provider" : "client",
      values: wanted,
      committed,
      deployed: [...new Set(running.flat())],
    }),
  );
  const isUnderWay = underWay(state) || next !== "";
  return {
    data: {
      credential: credential.name,
      profile: options.profile,
      namespace: place.namespace,
      underWay: isUnderWay,
      next,
      ...(problem === undefined ? {} : { problem: problem.message }),
      parties,
    },
    table: {
      columns: ["SERVICE", "ROLE", "VALUE", "COMMITTED", "DEPLOYED"],
      rows: parties.map(({ service, role, values, committed, deployed }) => [
        service,
        role,
        values.join(" + "),
        committed ? "yes" : "no",
        deployed.join(" + "),
      ]),
    },
    text:
      problem !== undefined
        ? `Stuck: ${problem.message}. ${problem.fix ?? ""}`
        : isUnderWay
          ? `Next: ${next}. Go on with \`${options.commandFor("next")}\`.`
          : `No rotation of ${credential.name} is under way.`,
    ...(problem === undefined ? {} : { exitCode: problem.exitCode }),
  };
}

/** The next step in words, empty where there is none; or why none is possible. */
function planned(state: RolloutState): { next: string; problem?: UserError } {
  try {
    const step = nextStep(state, "forward");
    return { next: step === undefined ? "" : describe(step, state) };
  } catch (error) {
    if (error instanceof UserError) return { next: "", problem: error };
    throw error;
  }
}

function describe(step: Step, { provider }: RolloutState): string {
  if (step.do !== "change") return `${step.do} ${step.service}`;
  if (step.service !== provider.service) return `move ${step.service} to the ${step.to} value`;
  return `${step.service} accepts the ${step.to} value alone`;
}
