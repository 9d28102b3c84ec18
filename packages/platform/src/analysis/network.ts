/** Ports of this machine, and names that lead to it. */
import { lookup } from "node:dns/promises";
import { readdir, readlink } from "node:fs/promises";
import { createServer, connect as connectTo } from "node:net";
import { basename, join } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { loadUserConfig } from "../project/workspace.ts";
import { type Check, type Finding, ok, faultOf } from "./finding.ts";
import { textOf } from "./machine.ts";

/** Every embedded cluster's unless it is told another. */
const usualIngressPort = 8080;

const names: Check = {
  id: "localhost-names",
  family: "machine",
  about:
    "`gateway.shop.localhost` is looked up, IPv4 and IPv6, as programs do it; browsers need nobody for it",
  async run() {
    const name = "gateway.shop.localhost";
    try {
      return [
        namesFinding(
          name,
          (await lookup(name, { all: true })).map(({ address }) => address),
        ),
      ];
    } catch (error) {
      if (!isErrno(error, "ENOTFOUND", "EAI_AGAIN", "ENODATA")) throw error;
      return [namesFinding(name, [])];
    }
  },
};

/** Ingress hosts are served on 127.0.0.1. */
export function namesFinding(name: string, addresses: string[]): Finding {
  if (addresses.length === 0) {
    return {
      severity: "info",
      message: `programs other than browsers and curl do not find ${name}: this machine looks such names up nowhere`,
      fix: "Install nss-myhostname (libnss-myhostname), add the hosts to /etc/hosts, or send the header Host to 127.0.0.1.",
    };
  }
  const said = `${name} is ${addresses.join(", ")}`;
  const strangers = addresses.filter((address) => !/^(127\.|::1$)/.test(address));
  if (strangers.length > 0) {
    return {
      severity: "error",
      message: `${said}, which is not this machine: somebody's DNS answers for localhost`,
      fix: "Correct the resolver or VPN that answers so, or add the hosts to /etc/hosts.",
    };
  }
  if (addresses.some((address) => address.startsWith("127."))) return ok(said);
  return {
    severity: "warning",
    message: `${said} alone, and services are served on 127.0.0.1`,
    fix: "Add the hosts to /etc/hosts with 127.0.0.1.",
  };
}

const ports: Check = {
  id: "ports",
  family: "machine",
  about:
    "the ports of Ingress hosts and of the API server are really bound, or, where the cluster runs, connected to; who holds a taken one is told",
  async run(subject) {
    const status = await subject.status().catch(faultOf);
    if (status instanceof UserError || status.provider === "kubeconfig") return [];
    const { state, ingressPort, ingressPortMoved, apiUrl } = status;
    const project = await subject.project();
    const user = await loadUserConfig(subject.locations.config);
    const wanted = project?.cluster.ingressPort ?? user.cluster?.ingressPort ?? usualIngressPort;
    if (state !== "running") {
      return Promise.all([boundFinding(wanted, subject.proc), boundFinding(0, subject.proc)]);
    }
    const findings: Finding[] = [];
    if (ingressPort !== undefined) findings.push(await connected(ingressPort, "Ingress hosts"));
    if (ingressPortMoved === true || (ingressPort !== undefined && ingressPort !== wanted)) {
      findings.push({
        severity: "info",
        message: `Ingress hosts are on port ${ingressPort}, because ${wanted} was taken`,
      });
    }
    const api = URL.parse(apiUrl ?? "");
    if (api !== null && /^(127\.|localhost$|\[?::1)/.test(api.hostname))
      findings.push(await connected(Number(api.port || 443), "the API server"));
    return findings;
  },
};

/** Binds the port on loopback, and lets it go; 0 is any port. */
export async function boundFinding(port: number, proc: string): Promise<Finding> {
  const code = await bind(port);
  if (code === undefined) {
    return ok(port === 0 ? "a port for the API server can be had" : `port ${port} is free for Ingress hosts`);
  }
  if (code === "EACCES") {
    return {
      severity: "warning",
      message: `port ${port} may not be used: ports below 1024 are for root`,
      fix: "Set `cluster.ingressPort` in kws.yaml to 8080 or another one above 1023.",
    };
  }
  const holder = await holderOf(port, proc);
  return {
    severity: "warning",
    message: `port ${port} is taken${holder === undefined ? "" : ` by ${holder}`}: Ingress hosts will get the next free one`,
    fix: "End that program, or choose another port: `kws cluster start --ingress-port PORT`, or `cluster.ingressPort` in kws.yaml.",
  };
}

/** The error's code, or undefined where it was bound. */
async function bind(port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, host: "127.0.0.1" }, resolve);
    });
    return undefined;
  } catch (error) {
    if (isErrno(error, "EADDRINUSE", "EACCES")) return String(error.code);
    throw error;
  } finally {
    server.close();
  }
}

async function connected(port: number, what: string): Promise<Finding> {
  const socket = connectTo({ port, host: "127.0.0.1", timeout: 2000 });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("timeout", () => reject(new Error("no answer within 2 s")));
      socket.once("error", reject);
    });
    return ok(`${what}: port ${port} answers`);
  } catch (error) {
    return {
      severity: "error",
      message: `${what}: port ${port} does not answer (${messageOf(error)})`,
      fix: "Start the cluster anew: `kws cluster stop`, then `kws cluster start`.",
    };
  } finally {
    socket.destroy();
  }
}

/** `nginx (process 4711)`; undefined where the kernel does not tell, as of processes of others. */
export async function holderOf(port: number, proc: string): Promise<string | undefined> {
  const tables = await Promise.all(["net/tcp", "net/tcp6"].map((name) => textOf(join(proc, name))));
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  // sl local_address rem_address st … inode: proc_pid_net(5). 0A is LISTEN.
  const inodes = tables
    .flatMap((table) => table.split("\n").map((line) => line.trim().split(/\s+/)))
    .filter((fields) => fields[1]?.endsWith(`:${hex}`) === true && fields[3] === "0A")
    .map((fields) => `socket:[${fields[9]}]`);
  if (inodes.length === 0) return undefined;
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const fds = await readdir(join(proc, pid, "fd")).catch(() => []);
    for (const fd of fds) {
      const target = await readlink(join(proc, pid, "fd", fd)).catch(() => "");
      if (!inodes.includes(target)) continue;
      // Its arguments are nobody's business.
      const [program = ""] = (await textOf(join(proc, pid, "cmdline"))).split("\0");
      return `${basename(program) || "a program"} (process ${pid})`;
    }
  }
  return undefined;
}

export const networkChecks = [names, ports];
