/** What the templates of one service's chart are made of. */
import type { Environment } from "./environment.ts";
import type { Volumes } from "./mounts.ts";
import type { Port } from "./ports.ts";
import type { ComposeProject, ComposeService } from "./project.ts";

export interface Parts {
  project: ComposeProject;
  service: ComposeService;
  environment: Environment;
  ports: Port[];
  volumes: Volumes;
  annotations: Record<string, string>;
}

/** Expressions for the names of a service's objects, and of its Service. */
export const nameOf = '{{ include "kws.name" . | quote }}';
export const serviceNameOf = '{{ include "kws.serviceName" . | quote }}';
