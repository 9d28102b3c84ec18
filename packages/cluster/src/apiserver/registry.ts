/** Which resources are served right now: the built-in ones and those that CustomResourceDefinitions add and take away. */
import { formatApiVersion, type KubeObject } from "@kws/kube/object";
import { qualified } from "./failures.ts";
import { builtinResources } from "./resources/index.ts";
import type { ResourceDefinition, StoredAs, Verb } from "./resources/resource.ts";
import { builtinTypes, type TypeRegistry } from "./schema/index.ts";

const allVerbs: Verb[] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

export class Registry {
  readonly types: TypeRegistry = builtinTypes();
  readonly #byPath = new Map<string, ResourceDefinition>();
  /** The CustomResourceDefinition behind a custom resource, by definition. */
  readonly #custom = new Map<ResourceDefinition, KubeObject>();
  /** Counts changes, so that documents made from the registry can be kept until it changes. */
  #version = 0;

  constructor() {
    for (const definition of builtinResources) this.#byPath.set(pathKey(definition), definition);
  }

  get version(): number {
    return this.#version;
  }

  find(path: { group: string; version: string; resource: string }): ResourceDefinition | undefined {
    return this.#byPath.get(pathKey(path));
  }

  definitions(): ResourceDefinition[] {
    return [...this.#byPath.values()];
  }

  findKind(apiVersion: string, kind: string): ResourceDefinition | undefined {
    return this.definitions().find(
      (one) => one.kind === kind && formatApiVersion(one.group, one.version) === apiVersion,
    );
  }

  /** The CustomResourceDefinition of a custom resource, undefined for built-in ones. */
  customResourceDefinition(definition: ResourceDefinition): KubeObject | undefined {
    return this.#custom.get(definition);
  }

  /** Replaces all versions of a custom resource. */
  setCustom(crd: KubeObject, definitions: ResourceDefinition[]): void {
    this.removeCustom(crd.metadata.name);
    for (const definition of definitions) {
      this.#byPath.set(pathKey(definition), definition);
      this.#custom.set(definition, crd);
    }
    this.#version++;
  }

  removeCustom(crdName: string): ResourceDefinition[] {
    const removed = [...this.#custom].filter(([, crd]) => crd.metadata.name === crdName).map(([one]) => one);
    for (const definition of removed) {
      this.#byPath.delete(pathKey(definition));
      this.#custom.delete(definition);
      this.#version++;
    }
    return removed;
  }
}

function pathKey({ group, version, resource }: { group: string; version: string; resource: string }): string {
  return `${group}/${version}/${resource}`;
}

export function verbsOf(definition: ResourceDefinition): Verb[] {
  return definition.verbs ?? allVerbs;
}

/** The table of the storage that holds the objects of all versions of a resource. */
export function tableOf(definition: { group: string; resource: string; storedAs?: StoredAs }): string {
  return qualified(definition.storedAs ?? definition);
}

/** Forms of stored objects that cost something to make: of custom resources, by the definition that shows them. */
const forms = new WeakMap<KubeObject, WeakMap<ResourceDefinition, KubeObject>>();

/** Whether `inVersion` knows the form, where a conversion webhook makes it. */
export function hasForm(definition: ResourceDefinition, object: KubeObject): boolean {
  return object.apiVersion === apiVersionOf(definition) || forms.get(object)?.has(definition) === true;
}

/** Makes `inVersion` answer this form of the object. */
export function keepForm(definition: ResourceDefinition, object: KubeObject, form: KubeObject): KubeObject {
  let known = forms.get(object);
  if (known === undefined) forms.set(object, (known = new WeakMap()));
  const completed = definition.complete?.(form) ?? form;
  known.set(definition, completed);
  return completed;
}

/** A stored object in the definition's version and form; the object itself where that is how it is stored. */
export function inVersion(definition: ResourceDefinition, object: KubeObject): KubeObject {
  if (definition.storedAs !== undefined) return definition.storedAs.fromStored(object);
  const known = forms.get(object)?.get(definition);
  if (known !== undefined) return known;
  const apiVersion = apiVersionOf(definition);
  const form = object.apiVersion === apiVersion ? object : { ...object, apiVersion };
  return definition.complete === undefined ? form : keepForm(definition, object, form);
}

/** An object in the form in which it is stored. */
export function toStored(definition: ResourceDefinition, object: KubeObject): KubeObject {
  return definition.storedAs === undefined ? object : definition.storedAs.toStored(object);
}

export function apiVersionOf(definition: { group: string; version: string }): string {
  return formatApiVersion(definition.group, definition.version);
}

export function storageKey(
  definition: ResourceDefinition,
  namespace: string | undefined,
  name: string,
): string {
  return definition.namespaced ? `${namespace}/${name}` : name;
}
