/** Makes the context of a command out of the process's world and the options that every command takes. */
import { delimiter, dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { createLogger } from "@kws/base/logger";
import { Steps } from "@kws/base/steps";
import { locations } from "@kws/platform/project/locations";
import { providerNames } from "@kws/platform/project/provider-names";
import type { Connection, Provider } from "@kws/platform/providers/provider";
import type { Globals } from "./command.ts";
import type { Context, World } from "./context.ts";
import { liveReporter, plainReporter, type Reporter } from "./progress.ts";
import { openWorkspaces, type Workspaces } from "./settings.ts";
import { createStyle, wantsColor } from "./style.ts";

export function createContext(
  world: World,
  globals: Globals,
  workspaces: Workspaces = openWorkspaces(world.cwd, globals.file),
): { context: Context; close: () => void } {
  const { env, home, stderr } = world;
  const places = locations(env, home);
  const style = createStyle(wantsColor(env, stderr.isTTY === true, globals["no-color"]));
  const open: Connection[] = [];
  const interactive = world.stdin.isTTY && stderr.isTTY === true && env["CI"] === undefined;
  const level = globals["log-level"] ?? "info";
  const quiet = globals.quiet === true || level === "warn" || level === "error";
  const log = createLogger((line) => stderr.write(line), level === "debug" ? level : "warn");
  const settings = async () => {
    const [{ chooseProvider }, { loadUserConfig }] = await Promise.all([
      import("@kws/platform/providers/choose"),
      import("@kws/platform/project/workspace"),
    ]);
    const [workspace, user] = await Promise.all([workspaces.findProject(), loadUserConfig(places.config)]);
    const known = {
      workspace: workspace?.cluster ?? {},
      user: user.cluster ?? {},
      data: places.data,
      userConfig: `${places.config}/config.yaml`,
      env,
      home,
    };
    return { chooseProvider, known };
  };
  const provider = async (cluster?: string): Promise<Provider> => {
    const { chooseProvider, known } = await settings();
    const name = cluster ?? globals.cluster;
    const named = providerNames.find((one) => one === globals.provider);
    return chooseProvider({
      ...(named === undefined ? {} : { provider: named }),
      ...(globals.context === undefined ? {} : { context: globals.context }),
      ...(globals.kubeconfig === undefined ? {} : { kubeconfig: globals.kubeconfig }),
      ...(name === undefined ? {} : { cluster: name }),
      ...known,
    });
  };
  const context: Context = {
    ...world,
    globals,
    locations: places,
    style,
    childEnv: {
      // What Helm remembers of clusters that come and go would otherwise pile up in ~/.kube/cache.
      KUBECACHEDIR: join(places.cache, "kubernetes"),
      ...env,
      PATH: [dirname(world.nodePath), env["PATH"] ?? ""].join(delimiter),
    },
    interactive,
    quiet,
    log,
    ...workspaces,
    provider,
    async contextProvider(context) {
      const { chooseProvider, known } = await settings();
      return chooseProvider({ ...known, context });
    },
    async connect(given) {
      const { connect } = await import("@kws/platform/providers/provider");
      const connection = await connect(given ?? (await provider()), log);
      open.push(connection);
      return connection;
    },
    steps() {
      const onEvent: Reporter | undefined = quiet ? undefined : reporter(context);
      return new Steps({ now: world.now, ...(onEvent === undefined ? {} : { onEvent }) });
    },
    async confirm(question) {
      if (globals.yes === true) return true;
      if (!interactive) {
        throw new UserError(`${question} There is no terminal to ask on`, {
          code: "usage",
          fix: "Add --yes.",
        });
      }
      const { confirm, isCancel } = await import("@clack/prompts");
      const answer = await confirm({ message: question, initialValue: false });
      return !isCancel(answer) && answer;
    },
  };
  return { context, close: () => open.forEach((connection) => connection.close()) };
}

function reporter({ stderr, style, env, now, globals }: Context): Reporter {
  const undisturbed = globals["log-level"] !== "debug";
  const live = undisturbed && stderr.isTTY === true && env["TERM"] !== "dumb" && env["CI"] === undefined;
  return live ? liveReporter(stderr, style, now) : plainReporter(stderr, style);
}
