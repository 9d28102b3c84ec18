/**
 * How the API server learns of a kind: everything that is particular to it stands in one `ResourceDefinition`, in one file
 * beside this one. Built-in kinds are data in this folder; a CustomResourceDefinition makes one at run time.
 */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import type { WebhookClient } from "../webhookclient.ts";

/** A loosely typed part of an object, such as its spec. */
export type Fields = Record<string, KubeObject["spec"]>;

export type Verb = "create" | "delete" | "deletecollection" | "get" | "list" | "patch" | "update" | "watch";

export interface ResourceDefinition {
  group: string;
  version: string;
  kind: string;
  /** Plural, as in URLs. */
  resource: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  namespaced: boolean;
  /** All verbs unless given, such as only `create` for a TokenReview. */
  verbs?: Verb[];
  /** Set where another definition keeps the objects: this one is only a second form of the same. */
  storedAs?: StoredAs;
  /** Set where a program outside of the server makes one version of a custom resource from another. */
  conversion?: ConversionWebhook;
  /** What a custom resource that was stored earlier has got since, such as defaults; the object itself where that is nothing. */
  complete?(object: KubeObject): KubeObject;
  /** `status` is written only through its own subresource and is kept on every other write. */
  hasStatus: boolean;
  scale?: ScalePaths;
  /** Fills in what the documentation calls defaults. Mutates; runs on create, update, apply and patch results. */
  setDefaults?(object: KubeObject): void;
  /** Before validation of a create: clears what the client may not set, sets what the server owns. Mutates. */
  prepareForCreate?(object: KubeObject): void;
  /**
   * Before validation of an update: carries over what must not change silently. Mutates `object`. `subresource` where the
   * write comes through one other than status.
   */
  prepareForUpdate?(object: KubeObject, old: KubeObject, subresource?: string): void;
  /**
   * Semantic validation; `old` on updates, `subresource` where it is written through one. An empty list accepts the
   * object. Name and metadata are checked elsewhere.
   */
  validate?(object: KubeObject, old?: KubeObject, subresource?: string): StatusCause[];
  /**
   * Causes from expressions of the language that `cel/` evaluates: those that an object of this kind holds, or that its
   * CustomResourceDefinition has for it. Absent where there are none.
   */
  checkExpressions?(object: KubeObject, old?: KubeObject): Promise<StatusCause[]>;
  /** Names: a DNS-1123 subdomain unless given. */
  nameFormat?: "dns1123subdomain" | "dns1123label" | "dns1035label" | "path";
  /** Fields usable in field selectors besides metadata.name and metadata.namespace: path to value. */
  selectableFields?: Record<string, (object: KubeObject) => string>;
  columns: Column[];
  /** One cell per column. `now` in milliseconds since the epoch, for ages. */
  row(object: KubeObject, now: number): (string | number | boolean | null)[];
}

/** The definition that stores the objects of this one, and the way there and back; both return fresh objects. */
export interface StoredAs {
  group: string;
  version: string;
  resource: string;
  toStored(object: KubeObject): KubeObject;
  fromStored(object: KubeObject): KubeObject;
}

export interface ConversionWebhook {
  client: WebhookClient;
  storageVersion: string;
}

/** Dotted paths as in CustomResourceDefinitions: `.spec.replicas`. */
export interface ScalePaths {
  specReplicas: string;
  statusReplicas: string;
  /** To a label selector in string or object form. */
  labelSelector?: string;
}

/** A column of `kubectl get`; priority 0 shows always, 1 only with `-o wide`. */
export interface Column {
  name: string;
  type: "string" | "integer" | "number" | "boolean" | "date";
  format?: string;
  description: string;
  priority: number;
}
