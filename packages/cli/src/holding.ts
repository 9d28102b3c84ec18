/** What commands do about services in development mode. */
import { UserError } from "@kws/base/errors";
import { describeIntercepted, findIntercepted, type Intercepted } from "@kws/platform/attach/intercepted";
import { giveBack } from "@kws/platform/dev/swap";
import { describeHold, findHolds, type Hold } from "@kws/platform/services/held";
import type { Holder } from "@kws/platform/services/lease";
import { readNamespace } from "@kws/platform/services/workloads";
import type { Chosen } from "./choosing.ts";
import type { Context } from "./context.ts";

/** Those of the chosen services that are in development mode. */
export async function holdsOf(ctx: Context, { connection, releases }: Chosen): Promise<Hold[]> {
  const { signal, holder, clock } = ctx;
  const namespaces = [...new Set(releases.map((release) => release.namespace))];
  const holds = await Promise.all(
    namespaces.map(async (namespace) => {
      const objects = await readNamespace(connection.client, namespace, signal);
      return findHolds(connection.client, objects, namespace, { host: holder.host, now: clock() });
    }),
  );
  return holds
    .flat()
    .filter((hold) =>
      releases.some(({ service, namespace }) => service === hold.service && namespace === hold.namespace),
    );
}

/** Those of the chosen services whose requests somebody gets. */
export async function interceptsOf(ctx: Context, { connection, releases }: Chosen): Promise<Intercepted[]> {
  const { signal, holder, clock } = ctx;
  const found = await Promise.all(
    releases.map((release) =>
      findIntercepted(connection.client, release, { host: holder.host, now: clock(), signal }),
    ),
  );
  return found.filter((one) => one !== undefined);
}

/**
 * For commands on what a service is when nobody develops it: one that was left behind is given back where the person wants that;
 * one that is developed is an error. Intercepts are told alone, for they change nothing about what runs.
 */
export async function settleHolds(ctx: Context, chosen: Chosen): Promise<void> {
  for (const hold of await holdsOf(ctx, chosen)) {
    const words = describeHold(hold);
    const asked = !hold.alive && ctx.interactive && (await ctx.confirm(`${words}. Give it back?`));
    if (!asked) {
      const fix = hold.alive
        ? `Saving a file restarts its process; \`kws service down ${hold.service}\` ends the development mode.`
        : `Give it back with \`kws service down ${hold.service}\`, or go on with \`kws service up ${hold.service}\`.`;
      throw new UserError(words, { code: "conflict", fix });
    }
    await giveBack(chosen.connection.client, hold, hold.service);
  }
  if (ctx.quiet) return;
  for (const one of await interceptsOf(ctx, chosen)) ctx.stderr.write(`${describeIntercepted(one)}.\n`);
}

/** Whether the person who runs this command began it, in this terminal or another one. */
export function isOwn({ by }: { by: string }, { user, host }: Holder): boolean {
  return by.split(" ")[0] === `${user}@${host}`;
}
