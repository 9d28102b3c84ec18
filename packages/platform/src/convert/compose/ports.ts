/** The ports that others reach a service by. In Compose that is every port; a Service has to name them. */
import { dockerfileOf } from "./dockerfile.ts";
import type { ComposeProject, ComposeService } from "./project.ts";
import { get, items, number, text, texts, type Tree, wrong } from "./tree.ts";

export interface Port {
  port: number;
  protocol: "TCP" | "UDP" | "SCTP";
  name: string;
  appProtocol?: string;
  /** On the machine, as the Compose file had it. */
  published?: string;
  /** The file addresses it with `http://`. */
  addressed?: true;
}

/** What images listen on that are often run without their ports being said. */
const usual: [RegExp, number[]][] = [
  [/(^|\/)(postgres|postgis|timescaledb|pgvector)/, [5432]],
  [/(^|\/)(mysql|mariadb|percona)/, [3306]],
  [/(^|\/)(redis|valkey|keydb)/, [6379]],
  [/(^|\/)mongo(db)?(:|$)/, [27017]],
  [/(^|\/)rabbitmq/, [5672, 15672]],
  [/(^|\/)memcached/, [11211]],
  [/(^|\/)elasticsearch/, [9200]],
  [/(^|\/)zookeeper/, [2181]],
  [/(^|\/)nats(:|$)/, [4222]],
  [/(^|\/)(nginx|httpd|caddy|traefik|wordpress|adminer|phpmyadmin)(:|$)/, [80]],
  [/(^|\/)minio/, [9000]],
];

/** Ports that are HTTP's by custom. Others are it where the file says so: by `app_protocol`, an address, or a health check. */
const webPorts = new Set([
  80, 81, 3000, 3001, 3002, 3003, 4000, 4200, 4321, 5000, 5001, 5173, 5601, 7001, 8000, 8001, 8002, 8008,
  8025, 8080, 8081, 8082, 8083, 8084, 8085, 8086, 8088, 8090, 8181, 8888, 9000, 9001, 9080, 9090, 9200, 15672,
  16686,
]);

/** Ports whose protocol is surely not HTTP; those of debuggers are among them. */
const otherProtocols = new Set([
  21, 22, 23, 25, 53, 110, 143, 389, 443, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 2345, 2379,
  2380, 3306, 4222, 5005, 5432, 5671, 5672, 5678, 6379, 6650, 8883, 9042, 9092, 9093, 9094, 9229, 9300, 11211,
  26257, 27017, 33060, 50051,
]);

export async function portsOf(project: ComposeProject, service: ComposeService): Promise<Port[]> {
  const { tree } = service;
  const found = new Map<string, Port>();
  const add = (port: number, more: Partial<Port> = {}): void => {
    const protocol = more.protocol ?? "TCP";
    const key = `${port}/${protocol}`;
    if (!Number.isInteger(port) || port < 1 || port > 65_535 || found.has(key)) return;
    found.set(key, { port, protocol, name: `${protocol.toLowerCase()}-${port}`, ...more });
  };
  for (const one of items(get(tree, "ports"))) add(...publishedPort(one));
  for (const one of items(get(tree, "expose"))) {
    const [port = "", protocol = "tcp"] = (text(one) ?? "").split("/");
    const [first = 0, last = first] = port.split("-").map(Number);
    if (!(first > 0)) throw wrong(one, "a port");
    for (let each = first; each <= Math.min(last, first + 999); each++)
      add(each, { protocol: protocolOf(protocol) });
  }
  for (const port of referencesTo(project, service)) add(port);
  for (const port of (await dockerfileOf(tree)).ports) add(port);
  const image = text(get(tree, "image")) ?? "";
  for (const port of usual.find(([pattern]) => pattern.test(image))?.[1] ?? []) add(port);
  const ports = [...found.values()];
  const addressed = addressedByHttp(project, service);
  for (const port of ports) if (addressed.has(port.port)) port.addressed = true;
  const http = ports.find(isHttp);
  if (http !== undefined) http.name = "http";
  const names = new Set<string>();
  for (const port of ports) {
    if (names.has(port.name)) port.name = `${port.protocol.toLowerCase()}-${port.port}`;
    names.add(port.name);
  }
  return ports;
}

/** Whether a program that listens there may speak HTTP. */
export function mayBeHttp(port: number): boolean {
  return !otherProtocols.has(port);
}

/** The port that an Ingress leads to: published, and known for HTTP. */
export function isHttp({ port, protocol, published, appProtocol, addressed }: Port): boolean {
  if (published === undefined || protocol !== "TCP") return false;
  if (appProtocol !== undefined) return appProtocol.startsWith("http");
  return webPorts.has(port) || (addressed === true && mayBeHttp(port));
}

function publishedPort(tree: Tree): [number, Partial<Port>] {
  const target = number(get(tree, "target"));
  if (target === undefined || target < 1 || target > 65_535) throw wrong(tree, "a port, from 1 to 65535");
  const name = text(get(tree, "name"))
    ?.toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .slice(0, 15)
    .replaceAll(/^-+|-+$/g, "");
  const appProtocol = text(get(tree, "app_protocol"));
  return [
    target,
    {
      protocol: protocolOf(text(get(tree, "protocol")) ?? "tcp"),
      published: text(get(tree, "published")) ?? "",
      ...(name === undefined || !/[a-z]/.test(name) ? {} : { name }),
      ...(appProtocol === undefined ? {} : { appProtocol }),
    },
  ];
}

function protocolOf(name: string): Port["protocol"] {
  const upper = name.toUpperCase();
  return upper === "UDP" || upper === "SCTP" ? upper : "TCP";
}

/** The ports by which others address it. */
function referencesTo(project: ComposeProject, { compose, aliases }: ComposeService): number[] {
  const names = [compose, ...aliases].map((name) => name.replaceAll(".", String.raw`\.`)).join("|");
  const pattern = new RegExp(String.raw`(?<![\w.-])(?:${names}):(\d{2,5})(?!\d)`, "g");
  return project.texts.flatMap((line) => [...line.matchAll(pattern)].map(([, port]) => Number(port)));
}

/** The ports that an address with `http://` leads to: others' addresses of the service, and its own health check. */
function addressedByHttp(project: ComposeProject, { compose, aliases, tree }: ComposeService): Set<number> {
  const names = [compose, ...aliases].map((name) => name.replaceAll(".", String.raw`\.`)).join("|");
  const found = (lines: string[], hosts: string) =>
    lines.flatMap((line) =>
      [...line.matchAll(new RegExp(String.raw`http://(?:${hosts}):(\d{2,5})(?!\d)`, "g"))].map(([, port]) =>
        Number(port),
      ),
    );
  const checks = texts(get(tree, "healthcheck", "test"));
  return new Set([
    ...found(project.texts, names),
    ...found(checks, String.raw`localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0`),
  ]);
}

/** The first port that is surely listened on once the program runs, for a probe. */
export function probedPort(ports: Port[], tree: Tree): Port | undefined {
  const published = ports.find(
    ({ port, protocol, published: given }) => given !== undefined && protocol === "TCP" && mayBeHttp(port),
  );
  if (published !== undefined) return published;
  const image = text(get(tree, "image")) ?? "";
  const [first] = usual.find(([pattern]) => pattern.test(image))?.[1] ?? [];
  const changed = texts(get(tree, "command")).some((word) => /port/i.test(word));
  return changed || get(tree, "build") !== undefined ? undefined : ports.find(({ port }) => port === first);
}
