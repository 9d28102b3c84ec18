/** What an editor needs to know to attach to a service's debugger. */
import type { DebugLanguage } from "../../project/schema.ts";

export interface Attachment {
  service: string;
  language: DebugLanguage;
  /** Of this machine; undefined where the editor runs its debugger in the container. */
  port: number | undefined;
  /** The service's folder, below the folder that the editor has open; `.` for that folder itself. With slashes. */
  folder: string;
  /** The same folder in the container. */
  remote: string;
  /** A program and its arguments that run a command in the container; for debuggers that no port leads to. */
  exec: string[];
}

/** What the configuration is called in the editor. */
export function nameOf({ service }: Attachment): string {
  return `kws: ${service}`;
}
