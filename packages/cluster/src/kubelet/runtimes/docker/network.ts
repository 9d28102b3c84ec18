/** The Docker network of a cluster: its range is the engine's choice, and its second address the helper's for good. */
import { UserError } from "@kws/base/errors";
import { addresses } from "../../../network/state.ts";
import { isStatus, orMissing } from "./engine.ts";
import type { EngineShare } from "./layout.ts";

export interface ClusterNetwork {
  name: string;
  /** Where the helper is reached from pods. */
  helper: string;
}

interface Range {
  first: number;
  bits: number;
}

/** Finds it, or makes it. */
export async function ensureNetwork({ docker, group, labels }: EngineShare): Promise<ClusterNetwork> {
  const network = docker.getNetwork(group);
  const asked = { Name: group, Driver: "bridge", Labels: labels };
  let subnet = subnetOf(await orMissing(network.inspect()));
  if (subnet === undefined) {
    // An address can be asked for in a range that was asked for: so the engine names a free one first.
    await docker.createNetwork({ ...asked, CheckDuplicate: true });
    subnet = subnetOf(await network.inspect());
    await network.remove();
    if (subnet === undefined) throw new Error("the Docker Engine names no range for its network");
    await docker.createNetwork({
      ...asked,
      CheckDuplicate: true,
      IPAM: { Config: [{ Subnet: subnet, IPRange: upperHalf(subnet) }] },
    });
  }
  const problem = overlap(subnet);
  if (problem !== undefined) {
    await network.remove();
    throw problem;
  }
  return { name: group, helper: format(parse(subnet).first + 2) };
}

export async function removeNetwork({ docker, group }: EngineShare): Promise<void> {
  try {
    await docker.getNetwork(group).remove();
  } catch (error) {
    if (!isStatus(error, 404)) throw error;
  }
}

function subnetOf(network: { IPAM?: { Config?: { Subnet?: string }[] } } | undefined): string | undefined {
  return network?.IPAM?.Config?.map(({ Subnet }) => Subnet).find((range) => range?.includes("."));
}

/** Where pods get their addresses, so that none has the helper's while there is no helper. */
export function upperHalf(subnet: string): string {
  const { first, bits } = parse(subnet);
  return `${format(first + 2 ** (32 - bits - 1))}/${bits + 1}`;
}

/** Why the cluster's own addresses could not be told from those of its pods. */
export function overlap(subnet: string): UserError | undefined {
  const taken = parse(subnet);
  for (const own of [addresses.serviceCidr, nodeRange].map(parse)) {
    const bits = Math.min(own.bits, taken.bits);
    if (own.first >>> (32 - bits) !== taken.first >>> (32 - bits)) continue;
    return new UserError(`the Docker Engine gives its networks ${subnet}, where the cluster has Services`, {
      code: "config",
      fix: "Set default-address-pools in the engine's daemon.json to other ranges, such as 172.20.0.0/14.",
    });
  }
  return undefined;
}

/** Where the node and the host are. */
export const nodeRange = "10.244.0.0/30";

function parse(range: string): Range {
  const [address = "", bits = "32"] = range.split("/");
  const value = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return { first: value, bits: Number(bits) };
}

function format(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}
