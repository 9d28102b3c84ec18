/** What an admission step is told of a request, and how it reads what the cluster holds. */
import type { Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import type { User } from "../request.ts";
import type { ResourceDefinition } from "../resources/resource.ts";

/** Such as a PodExecOptions; it has no metadata. */
export interface Connection {
  kind: string;
  apiVersion: string;
  [option: string]: unknown;
}

export interface AdmissionContext {
  operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  definition: ResourceDefinition;
  /** The object as it is to be stored, with defaults; steps change it in place. Absent on DELETE and CONNECT. */
  object?: KubeObject;
  old?: KubeObject;
  /** On CONNECT: what is connected to, and how. */
  connecting?: { name: string; namespace?: string; options: Connection };
  subresource?: string;
  user: User;
  /** Tells the client something that does not stop the request. */
  warn(text: string): void;
  /** Reads from memory, synchronously, so that a step and the write that follows it see one state. */
  get(resource: Resource, name: string, namespace?: string): KubeObject | undefined;
  list(resource: Resource, namespace?: string): readonly KubeObject[];
  /** The object, once it is there; undefined where it is not within this many milliseconds. */
  waitFor(
    resource: Resource,
    name: string,
    namespace: string,
    timeoutMs: number,
  ): Promise<KubeObject | undefined>;
}
