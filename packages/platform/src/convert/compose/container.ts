/** What a container and its pod are told: command, probes, resources, identity, names. Volumes are for volumes.ts. */
import { parseDuration } from "@kws/base/duration";
import { forKubelet, forShell, hiddenIn } from "./hidden.ts";
import type { ComposeProject, ComposeService } from "./project.ts";
import type { Port } from "./ports.ts";
import { withNewNames } from "./project.ts";
import { entries, flag, get, items, number, text, texts, type Tree, wrong } from "./tree.ts";

type Fields = Record<string, unknown>;

/** Without what is undefined, and without what is empty. */
export function compact(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) =>
        value !== undefined &&
        !(typeof value === "object" && value !== null && Object.keys(value).length === 0),
    ),
  );
}

/** `command` and `args`. An entrypoint that is given takes the image's own command away, as it does in Docker. */
export function commandOf(project: ComposeProject, { tree }: ComposeService): Fields {
  const words = (name: string): string[] | undefined => {
    const given = get(tree, name);
    // The kubelet replaces $(NAME), which means nothing to Compose.
    return given === undefined
      ? undefined
      : items(given).map((word) => forKubelet(withNewNames(project, text(word) ?? "")));
  };
  const entrypoint = words("entrypoint");
  const command = words("command");
  if (entrypoint !== undefined && entrypoint.every((word) => word === "")) return compact({ command });
  return compact({ command: entrypoint, args: command });
}

/** Seconds of `1m30s`; at least `least`. */
export function seconds(tree: Tree | undefined, least: number): number | undefined {
  const value = text(tree);
  if (tree === undefined || value === undefined || value === "") return undefined;
  try {
    const normal = /^\d+$/.test(value) ? `${value}s` : value.replaceAll(/\d+(us|µs|ns)/g, "") || "0s";
    return Math.max(least, Math.ceil(parseDuration(normal) / 1000));
  } catch {
    throw wrong(tree, "a duration such as 1m30s");
  }
}

/**
 * The readiness probe of a `healthcheck`, and before it a startup probe for as long as `start_period` lets it fail; undefined where
 * there is none.
 */
export function healthProbes(
  { report }: ComposeProject,
  { tree }: ComposeService,
  ports: Port[],
): { readinessProbe: Fields; startupProbe?: Fields } | undefined {
  const check = get(tree, "healthcheck");
  const [kind, ...words] = texts(get(check, "test"));
  if (kind === undefined || kind === "NONE" || flag(get(check, "disable")) === true) return undefined;
  const timing = {
    periodSeconds: seconds(get(check, "interval"), 1) ?? 10,
    timeoutSeconds: seconds(get(check, "timeout"), 1) ?? 30,
    failureThreshold: Math.max(1, number(get(check, "retries")) ?? 3),
  };
  const startPeriod = seconds(get(check, "start_period"), 0) ?? 0;
  // Docker asks every 5 seconds meanwhile.
  const startInterval = seconds(get(check, "start_interval"), 1) ?? Math.min(5, timing.periodSeconds);
  const probes = (action: Fields): { readinessProbe: Fields; startupProbe?: Fields } => ({
    ...(startPeriod === 0
      ? {}
      : {
          startupProbe: {
            ...action,
            ...timing,
            periodSeconds: startInterval,
            failureThreshold: Math.ceil(startPeriod / startInterval) + timing.failureThreshold,
          },
        }),
    readinessProbe: { ...action, ...timing },
  });
  const line = kind === "CMD" || kind === "CMD-SHELL" ? words.join(" ") : [kind, ...words].join(" ");
  const hasHidden = words.some((word) => hiddenIn(word).length > 0);
  // A password stays out of what everybody can read of a pod.
  const httpGet = hasHidden ? undefined : plainRequest(line);
  // What only the container itself reaches stays a command in it.
  if (httpGet !== undefined && ports.some(({ port }) => port === httpGet.port)) return probes({ httpGet });
  if (check !== undefined && /\bcurl\b/.test(line))
    report(
      "note",
      check,
      "the probe runs curl in the container: where the image has none, the pod does not become ready",
    );
  const command =
    kind === "CMD"
      ? words
      : ["/bin/sh", "-c", kind === "CMD-SHELL" ? words.join(" ") : [kind, ...words].join(" ")];
  return probes({ exec: { command: hasHidden && kind === "CMD" ? inShell(words) : command.map(forShell) } });
}

/** What `curl -f` or `wget` asks of the container itself, where that is all of the command. */
function plainRequest(line: string): { path: string; port: number } | undefined {
  const options = {
    curl: String.raw`(?:-[fsSL]+|--fail|--silent|--show-error|--location|-o +/dev/null|--output +/dev/null)`,
    wget: String.raw`(?:-q|-nv|--quiet|--no-verbose|--spider|--tries=1|-t *1|-O *(?:-|/dev/null)|-qO *(?:-|/dev/null))`,
  };
  const url = String.raw`["']?http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+))?(/[^\s"'|&;<>$]*)?["']?`;
  const [program] = /^(?:\/usr\/bin\/)?(curl|wget)(?= )/.exec(line) ?? [];
  if (program === undefined || (program.endsWith("curl") && !/ (?:-[sSL]*f|--fail)/.test(line)))
    return undefined;
  const allowed = program.endsWith("curl") ? options.curl : options.wget;
  const pattern = new RegExp(`^${program}(?: +${allowed})* +${url}(?: +${allowed})*(?: *\\|\\| *exit +1)?$`);
  const match = pattern.exec(line.trim());
  return match === null ? undefined : { path: match[2] ?? "/", port: Number(match[1] ?? 80) };
}

/** Words as a shell's, where some of them refer to variables. */
function inShell(words: string[]): string[] {
  const line = words
    .map((word) => (hiddenIn(word).length > 0 ? `"${forShell(word)}"` : quoted(word)))
    .join(" ");
  return ["/bin/sh", "-c", line];
}

/** Whether the file says that there is to be no probe. */
export function isUnprobed(tree: Tree): boolean {
  const check = get(tree, "healthcheck");
  return flag(get(check, "disable")) === true || texts(get(check, "test"))[0] === "NONE";
}

/** Kubernetes runs one hook each: several commands become one shell's. */
export function lifecycleOf({ tree }: ComposeService): Fields {
  const hook = (name: string): Fields | undefined => {
    const hooks = items(get(tree, name));
    if (hooks.length === 0) return undefined;
    const lines = hooks.map((one) => {
      const folder = text(get(one, "working_dir"));
      const variables = entries(get(one, "environment")).map(
        ([key, value]) => `${key}=${quoted(text(value) ?? "")} `,
      );
      const command = `${variables.join("")}${texts(get(one, "command")).map(quoted).join(" ")}`;
      return folder === undefined ? command : `(cd ${quoted(folder)} && ${command})`;
    });
    return { exec: { command: ["/bin/sh", "-c", lines.join(" && ").replaceAll("$(", "$$$$(")] } };
  };
  return compact({ postStart: hook("post_start"), preStop: hook("pre_stop") });
}

function quoted(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Bytes as Kubernetes writes them: Docker's `m` is mebibytes. */
export function memory(tree: Tree | undefined): string | undefined {
  const given = text(tree);
  if (tree === undefined || given === undefined) return undefined;
  const [, amount, unit = ""] = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\s*$/i.exec(given) ?? [];
  if (amount === undefined) throw wrong(tree, "an amount such as 512m");
  const suffix = unit === "" ? "" : `${unit.toUpperCase()}i`;
  if (!amount.includes(".")) return `${amount}${suffix}`;
  const power = " KMGTP".indexOf(unit === "" ? " " : unit.toUpperCase());
  return String(Math.ceil(Number(amount) * 1024 ** power));
}

function cpus(tree: Tree | undefined): string | undefined {
  const given = number(tree);
  return given === undefined || given <= 0 ? undefined : `${Math.max(1, Math.round(given * 1000))}m`;
}

/** `requests` and `limits`. */
export function resourcesOf(project: ComposeProject, { tree }: ComposeService): Fields {
  const of = (kind: string, key: string) => get(tree, "deploy", "resources", kind, key);
  const limits = compact({
    cpu: cpus(of("limits", "cpus") ?? get(tree, "cpus")),
    memory: memory(of("limits", "memory") ?? get(tree, "mem_limit")),
    ...gpusOf(project, tree),
  });
  const requests = compact({
    cpu: cpus(of("reservations", "cpus")),
    memory: memory(of("reservations", "memory") ?? get(tree, "mem_reservation")),
  });
  return compact({ requests, limits });
}

function gpusOf({ report }: ComposeProject, tree: Tree): Fields {
  const gpus = get(tree, "gpus");
  const wanted = [
    ...items(gpus?.kind === "scalar" ? undefined : gpus),
    ...items(get(tree, "deploy", "resources", "reservations", "devices")),
  ];
  if (gpus?.kind === "scalar" && text(gpus) === "all") {
    report("note", gpus, "one GPU of NVIDIA is asked for: a pod cannot ask for all");
    return { "nvidia.com/gpu": 1 };
  }
  const found: Fields = {};
  for (const device of wanted) {
    const driver = text(get(device, "driver")) ?? "nvidia";
    const isGpu =
      get(device, "capabilities") === undefined || texts(get(device, "capabilities")).includes("gpu");
    if (!isGpu || !["nvidia", "amd"].includes(driver)) {
      report("warning", device, "the device is left out: a device plugin gives it a name of its own");
      continue;
    }
    const count = text(get(device, "count")) ?? String(texts(get(device, "device_ids")).length || 1);
    if (count === "all" || get(device, "device_ids") !== undefined)
      report("note", device, "GPUs are asked for by count, and a pod cannot ask for all");
    found[`${driver}.com/gpu`] = count === "all" ? 1 : Number(count) || 1;
  }
  return found;
}

/** The container's securityContext, and the pod's. */
export function securityOf(
  project: ComposeProject,
  { tree }: ComposeService,
): { container: Fields; pod: Fields } {
  const { report } = project;
  const capability = (item: Tree) => (text(item) ?? "").toUpperCase().replace(/^CAP_/, "");
  const user = get(tree, "user");
  const [owner, group] = (text(user) ?? "").split(":").map((one) => (one === "root" ? "0" : one));
  const id = (given: string | undefined) =>
    given !== undefined && /^\d+$/.test(given) ? Number(given) : undefined;
  if (
    user !== undefined &&
    [owner, group].some((one) => one !== undefined && one !== "" && id(one) === undefined)
  ) {
    report(
      "warning",
      user,
      `"${text(user) ?? ""}" is left out: a pod's user is a number`,
      "Set runAsUser in the chart to the number that the image gives this user.",
    );
  }
  const container: Fields = {
    runAsUser: id(owner),
    runAsGroup: id(group),
    privileged: flag(get(tree, "privileged")) === true ? true : undefined,
    readOnlyRootFilesystem: flag(get(tree, "read_only")) === true ? true : undefined,
    capabilities: compact({
      add: items(get(tree, "cap_add")).map(capability),
      drop: items(get(tree, "cap_drop")).map(capability),
    }),
  };
  for (const option of items(get(tree, "security_opt"))) {
    const [name, value = "true"] = (text(option) ?? "").split(/[:=]/);
    if (name === "no-new-privileges") container["allowPrivilegeEscalation"] = value !== "true";
    else if (name === "seccomp" && value === "unconfined")
      container["seccompProfile"] = { type: "Unconfined" };
    else if (name === "apparmor" && value === "unconfined")
      container["appArmorProfile"] = { type: "Unconfined" };
    else
      report("warning", option, `${text(option) ?? ""} is left out: set it in the chart's securityContext`);
  }
  const groups = items(get(tree, "group_add")).flatMap((item) => {
    const number = id(text(item));
    if (number === undefined)
      report("warning", item, `the group "${text(item) ?? ""}" is left out: a pod's groups are numbers`);
    return number ?? [];
  });
  const gid = id(group) ?? id(owner);
  const pod = {
    // So that volumes can be written to by a user who is not root.
    fsGroup: gid === 0 ? undefined : gid,
    supplementalGroups: groups,
    sysctls: entries(get(tree, "sysctls")).map(([name, value]) => ({ name, value: text(value) ?? "" })),
  };
  return { container: compact(container), pod: compact(pod) };
}

/** What the pod's network, names and place are. */
export function podFieldsOf(project: ComposeProject, service: ComposeService): Fields {
  const { report } = project;
  const { tree } = service;
  const isHost = (key: string): true | undefined => {
    const given = get(tree, key);
    const mode = text(given);
    if (given === undefined || mode === undefined || /^(bridge|default|private|shareable|)$/.test(mode))
      return undefined;
    if (mode === "host") return true;
    report(
      "error",
      given,
      `${key}: ${mode} is left out: ${/^(service|container):/.test(mode) ? "containers that share it have to be one pod" : "a pod has the cluster's"}`,
    );
    return undefined;
  };
  const hostNetwork = isHost("network_mode");
  if (hostNetwork)
    report(
      "note",
      get(tree, "network_mode") ?? tree,
      "the pod uses the node's network, as the container did the machine's",
    );
  const hostname = get(tree, "hostname");
  const label = text(hostname)?.split(".")[0];
  if (hostname !== undefined && label !== text(hostname))
    report("note", hostname, `the pod is called ${label ?? ""}: a hostname is one label`);
  const [os, architecture] = (text(get(tree, "platform")) ?? "").split("/");
  const dns = compact({
    nameservers: texts(get(tree, "dns")),
    searches: texts(get(tree, "dns_search")),
    options: texts(get(tree, "dns_opt")).map((option) => {
      const [name = "", value] = option.split(":");
      return value === undefined ? { name } : { name, value };
    }),
  });
  return compact({
    hostname: label === undefined || !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(label) ? undefined : label,
    hostAliases: hostAliasesOf(project, tree),
    hostNetwork,
    dnsPolicy: hostNetwork ? "ClusterFirstWithHostNet" : undefined,
    dnsConfig: dns,
    hostPID: isHost("pid"),
    hostIPC: isHost("ipc"),
    nodeSelector: compact({ "kubernetes.io/os": os || undefined, "kubernetes.io/arch": architecture }),
    terminationGracePeriodSeconds: seconds(get(tree, "stop_grace_period"), 0),
  });
}

function hostAliasesOf({ report }: ComposeProject, tree: Tree): { ip: string; hostnames: string[] }[] {
  const byAddress = new Map<string, string[]>();
  for (const [name, value] of entries(get(tree, "extra_hosts"))) {
    for (const address of texts(value).map((one) => one.replace(/^\[(.*)\]$/, "$1"))) {
      if (address === "host-gateway") {
        report(
          "warning",
          value,
          `${name} is left out: what runs the cluster decides how the machine is reached from it`,
          "On the embedded cluster it is host.kws.internal.",
        );
        continue;
      }
      byAddress.set(address, [...(byAddress.get(address) ?? []), name]);
    }
  }
  return [...byAddress].map(([ip, hostnames]) => ({ ip, hostnames }));
}

/** Docker's labels are free text, as annotations are; those of `deploy` are the workload's. */
export function annotationsOf(
  { report }: ComposeProject,
  tree: Tree,
  ...keys: string[]
): Record<string, string> {
  const found: Record<string, string> = {};
  for (const key of keys) {
    const given = key === "deploy" ? get(tree, "deploy", "labels") : get(tree, key);
    for (const [name, value] of entries(given)) {
      if (hiddenIn(text(value) ?? "").length > 0) {
        report(
          "error",
          value,
          `${JSON.stringify(name)} is left out: annotations can be read by many, and it has a secret`,
        );
        continue;
      }
      if (/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/.test(name))
        found[name] = text(value) ?? "";
      else
        report("warning", value, `${JSON.stringify(name)} is left out: an annotation cannot have this name`);
    }
  }
  return found;
}
