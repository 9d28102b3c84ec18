/** What depends on what: orders, waves, and the cycle where there is one. */
import { UserError } from "@kws/base/errors";
import { suggest } from "./nearest.ts";

export interface GraphNode {
  name: string;
  dependsOn: string[];
  /** Where the dependency at the index is written, for errors. */
  at?(index: number): string;
}

/**
 * Throws a `config` error for an unknown name (with the nearest) or a cycle (printed as `a → b → a`). `others` are names that
 * there are beside the nodes.
 */
export function checkGraph(nodes: GraphNode[], others: readonly string[] = []): void {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const known = new Set([...byName.keys(), ...others]);
  for (const node of nodes) {
    for (const [index, name] of node.dependsOn.entries()) {
      if (known.has(name)) continue;
      throw new UserError(`${node.name} depends on "${name}", which is not a service of the workspace`, {
        code: "config",
        fix: suggest(name, [...known], "Add it to the workspace's services."),
        ...(node.at === undefined ? {} : { at: node.at(index) }),
      });
    }
  }
  const cycle = findCycle(byName);
  if (cycle === undefined) return;
  const first = byName.get(cycle[0] ?? "");
  const index = first?.dependsOn.indexOf(cycle[1] ?? "") ?? 0;
  throw new UserError(`services depend on each other in a cycle: ${cycle.join(" → ")}`, {
    code: "config",
    fix: "Remove one of these dependencies.",
    ...(first?.at === undefined ? {} : { at: first.at(index) }),
  });
}

/** `[a, b, a]`. Depth first with a stack of its own: a chain of any length does not exhaust the call stack. */
export function findCycle(byName: Map<string, GraphNode>): string[] | undefined {
  const done = new Set<string>();
  for (const root of byName.keys()) {
    const path: { name: string; next: number }[] = [{ name: root, next: 0 }];
    const onPath = new Set([root]);
    while (path.length > 0 && !done.has(root)) {
      const top = path[path.length - 1];
      if (top === undefined) break;
      const dependency = byName.get(top.name)?.dependsOn[top.next++];
      if (dependency === undefined) {
        done.add(top.name);
        onPath.delete(top.name);
        path.pop();
      } else if (onPath.has(dependency)) {
        const names = path.map((entry) => entry.name);
        return [...names.slice(names.indexOf(dependency)), dependency];
      } else if (!done.has(dependency)) {
        onPath.add(dependency);
        path.push({ name: dependency, next: 0 });
      }
    }
  }
  return undefined;
}

/** Groups in which everything depends on earlier groups alone. The graph must have been checked. */
export function waves(nodes: GraphNode[]): string[][] {
  const result: string[][] = [];
  const placed = new Set<string>();
  let rest = nodes;
  while (rest.length > 0) {
    const names = new Set(rest.map((node) => node.name));
    const ready = rest.filter((node) => node.dependsOn.every((name) => placed.has(name) || !names.has(name)));
    if (ready.length === 0) throw new Error("waves of a graph with a cycle");
    for (const node of ready) placed.add(node.name);
    result.push(ready.map((node) => node.name));
    rest = rest.filter((node) => !placed.has(node.name));
  }
  return result;
}

/** The chosen names and everything that they depend on, directly or not, in the order of `nodes`. */
export function closure(nodes: GraphNode[], chosen: string[]): string[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const wanted = new Set<string>();
  const queue = [...chosen];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (wanted.has(name)) continue;
    wanted.add(name);
    queue.push(...(byName.get(name)?.dependsOn ?? []));
  }
  return nodes.map((node) => node.name).filter((name) => wanted.has(name));
}
