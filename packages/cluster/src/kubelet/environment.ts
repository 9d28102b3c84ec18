/** A container's environment and command line from its spec, its image and the objects it refers to. */
import type { KubeObject } from "@kws/kube/object";
import type { ImageConfig } from "@kws/oci/manifest";
import { fieldValue, resourceValue, type Allocatable } from "./downward.ts";
import { expand } from "./expand.ts";
import type { EnvVar, Pod, PodContainer } from "./pod.ts";

/** A container that cannot be created as it is written: shown as `CreateContainerConfigError`. */
export class ContainerConfigError extends Error {
  override name = "ContainerConfigError";
}

export interface EnvironmentSource {
  pod: Pod;
  machine: Allocatable;
  configMap(name: string): Promise<KubeObject | undefined>;
  secret(name: string): Promise<KubeObject | undefined>;
  /** The namespace's Services, and `default/kubernetes`. */
  services: KubeObject[];
}

/**
 * In upstream's order of precedence, the lowest first: image, Service links, envFrom, env. `$(NAME)` sees everything that
 * was defined before.
 */
export async function buildEnvironment(
  container: PodContainer,
  image: ImageConfig,
  source: EnvironmentSource,
): Promise<Record<string, string>> {
  const fromImage: Record<string, string> = {};
  for (const entry of image.Env ?? []) {
    const equals = entry.indexOf("=");
    fromImage[equals < 0 ? entry : entry.slice(0, equals)] = equals < 0 ? "" : entry.slice(equals + 1);
  }
  const links = serviceVariables(source.services);
  const env: Record<string, string> = {};
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const data = configMapRef
      ? await configMapData(source, configMapRef.name, configMapRef.optional)
      : secretRef
        ? await secretData(source, secretRef.name, secretRef.optional)
        : {};
    for (const [key, value] of Object.entries(data)) env[prefix + key] = value;
  }
  for (const variable of container.env ?? []) {
    const value = await valueOf(variable, container, source, { ...links, ...env });
    if (value !== undefined) env[variable.name] = value;
  }
  return { ...fromImage, ...links, ...env };
}

async function valueOf(
  { value = "", valueFrom }: EnvVar,
  container: PodContainer,
  source: EnvironmentSource,
  known: Record<string, string>,
): Promise<string | undefined> {
  if (valueFrom === undefined) return expand(value, known);
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = valueFrom;
  if (fieldRef) return fieldValue(source.pod, fieldRef);
  if (resourceFieldRef) return resourceValue(source.pod, container, resourceFieldRef, source.machine);
  const ref = configMapKeyRef ?? secretKeyRef;
  if (ref === undefined) return "";
  const kind = configMapKeyRef ? "ConfigMap" : "Secret";
  const data = configMapKeyRef
    ? await configMapData(source, ref.name, ref.optional)
    : await secretData(source, ref.name, ref.optional);
  const found = data[ref.key];
  if (found === undefined && ref.optional !== true) {
    throw new ContainerConfigError(
      `couldn't find key ${ref.key} in ${kind} ${source.pod.metadata.namespace}/${ref.name}`,
    );
  }
  return found;
}

async function configMapData(
  source: EnvironmentSource,
  name: string,
  optional = false,
): Promise<Record<string, string>> {
  const object = await source.configMap(name);
  if (object === undefined && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
  return (object?.data ?? {}) as Record<string, string>;
}

async function secretData(
  source: EnvironmentSource,
  name: string,
  optional = false,
): Promise<Record<string, string>> {
  const object = await source.secret(name);
  if (object === undefined && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
  const data = (object?.data ?? {}) as Record<string, string>;
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]),
  );
}

/** `NAME_SERVICE_HOST` and the Docker link variables (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables). */
export function serviceVariables(services: KubeObject[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const service of services) {
    const host: string | undefined = service.spec?.clusterIP;
    const ports: { name?: string; port: number; protocol?: string }[] = service.spec?.ports ?? [];
    const [first] = ports;
    if (host === undefined || host === "" || host === "None" || first === undefined) continue;
    const prefix = variableName(service.metadata.name);
    env[`${prefix}_SERVICE_HOST`] = host;
    env[`${prefix}_SERVICE_PORT`] = String(first.port);
    for (const { name, port } of ports) {
      if (name) env[`${prefix}_SERVICE_PORT_${variableName(name)}`] = String(port);
    }
    const url = ({ port, protocol = "TCP" }: { port: number; protocol?: string }) =>
      `${protocol.toLowerCase()}://${host}:${port}`;
    env[`${prefix}_PORT`] = url(first);
    for (const port of ports) {
      const protocol = port.protocol ?? "TCP";
      const stem = `${prefix}_PORT_${port.port}_${protocol}`;
      env[stem] = url(port);
      env[`${stem}_PROTO`] = protocol.toLowerCase();
      env[`${stem}_PORT`] = String(port.port);
      env[`${stem}_ADDR`] = host;
    }
  }
  return env;
}

function variableName(name: string): string {
  return name.toUpperCase().replaceAll(/[-.]/g, "_");
}

/** `command` replaces the image's entrypoint and with it its arguments; `args` replaces the arguments alone. */
export function buildCommand(
  container: PodContainer,
  image: ImageConfig,
  env: Record<string, string>,
): string[] {
  const given = (list: string[] | undefined) =>
    list !== undefined && list.length > 0 ? list.map((text) => expand(text, env)) : undefined;
  const command = given(container.command);
  const args = given(container.args);
  const argv = command
    ? [...command, ...(args ?? [])]
    : [...(image.Entrypoint ?? []), ...(args ?? image.Cmd ?? [])];
  if (argv.length === 0) {
    throw new ContainerConfigError(
      `no command specified: the image ${container.image} names none, and neither does the container`,
    );
  }
  return argv;
}
