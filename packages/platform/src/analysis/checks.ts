/** All checks, in the order in which the reference lists them. */
import { clusterChecks } from "./cluster.ts";
import { fileChecks } from "./files.ts";
import type { Check } from "./finding.ts";
import { machineChecks } from "./machine.ts";
import { manifestChecks } from "./manifests.ts";
import { networkChecks } from "./network.ts";
import { registryChecks } from "./registries.ts";
import { sandboxChecks } from "./sandbox.ts";
import { sourceChecks } from "./sources.ts";
import { repositoryChecks, workspaceChecks } from "./workspace.ts";

export const checks: readonly Check[] = [
  ...machineChecks,
  ...fileChecks,
  ...networkChecks,
  ...sandboxChecks,
  ...registryChecks,
  ...clusterChecks,
  ...workspaceChecks,
  ...sourceChecks,
  ...manifestChecks,
  ...repositoryChecks,
];
