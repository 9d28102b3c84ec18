/** A real registry for tests: Debian's `docker-registry`, on a loopback port, with its files in a folder that goes away. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { tempDir } from "@kws/base/tempdir";

export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** Ends it, as a machine that loses its power does. */
  kill(): Promise<void>;
}

/** The only ones that a registry with `login` knows; the hash is bcrypt's, of the password. */
export const login = {
  username: "tester",
  password: "open sesame",
  htpasswd: "tester:$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n",
};

/** Why there is none here; undefined where there is. In CI its absence is an error, not a reason to skip. */
export function registryMissing(env: NodeJS.ProcessEnv): string | undefined {
  const found = (env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, "docker-registry"), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (found) return undefined;
  const why = "docker-registry is not installed: apt-get install docker-registry";
  if (env["CI"]) throw new Error(why);
  return why;
}

export async function startDockerRegistry(
  env: NodeJS.ProcessEnv,
  options: { login?: boolean } = {},
): Promise<DockerRegistry> {
  const folder = await tempDir("kws-registry");
  const htpasswd = join(folder.path, "htpasswd");
  await mkdir(join(folder.path, "data"));
  await writeFile(htpasswd, login.htpasswd);
  const config = {
    version: 0.1,
    log: { level: "info", formatter: "json" },
    storage: { filesystem: { rootdirectory: join(folder.path, "data") }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0", secret: "for tests" },
    ...(options.login === true ? { auth: { htpasswd: { realm: "tests", path: htpasswd } } } : {}),
  };
  const configFile = join(folder.path, "config.yml");
  await writeFile(configFile, JSON.stringify(config)); // JSON is YAML too.
  const child = spawn("docker-registry", ["serve", configFile], {
    env: { PATH: env["PATH"] },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = once(child, "exit");
  const said: string[] = [];
  const port = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on("error", reject);
    child.on("exit", () => reject(new Error(`docker-registry ended: ${said.slice(-3).join("\n")}`)));
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  return {
    host: `127.0.0.1:${port}`,
    kill,
    async [Symbol.asyncDispose]() {
      await kill();
      await folder[Symbol.asyncDispose]();
    },
  };
}
