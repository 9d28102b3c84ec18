/** What a conversion is going to write, before anything is written. */
import type { Finding } from "./finding.ts";

/** Values that are written encrypted, or not at all. */
export interface PlannedSecrets {
  /** Absolute: a profile's secrets.yaml. */
  path: string;
  values: Record<string, unknown>;
  /** Where each of them comes from, to be told where they cannot be encrypted. */
  from: { name: string; key: string; at: string }[];
}

export interface ConvertedService {
  name: string;
  /** Absolute. */
  dir: string;
}

export interface Conversion {
  /** The workspace's name. */
  name: string;
  /** The workspace's folder, absolute. */
  root: string;
  services: ConvertedService[];
  /** The names of the workspace's stacks. */
  stacks: string[];
  /** By absolute path. */
  files: Map<string, string | Uint8Array>;
  secrets: PlannedSecrets[];
  findings: Finding[];
}
