/**
 * `kws service up` on the embedded cluster: from saving a file to the first answer of the new code, beside the time that the same
 * program takes to start and answer by itself, and what a session costs that nothing happens in.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

const host = "web.shop.localhost";
const idleSeconds = 30;

const program = (word: string) =>
  `import { createServer } from "node:http";\n` +
  `createServer((_, answer) => answer.end("${word}")).listen(process.env.PORT ?? 8080);\n`;

export async function measure(): Promise<Measurement[]> {
  await using whole = await product();
  const root = join(whole.home, "shop");
  const source = join(root, "web/server.js");
  await mkdir(join(root, "web"), { recursive: true });
  const kws = whole.in(root);
  await writeFile(
    join(root, "web/package.json"),
    '{ "name": "web", "type": "module", "main": "server.js" }\n',
  );
  await writeFile(source, program("first"));
  await kws.kws("init", "--yes");
  await kws.kws("stack", "start");
  const { ingressPort } = JSON.parse(await kws.kws("cluster", "status", "-o", "json")) as {
    ingressPort: number;
  };
  const session = kws.spawn("service", "up", "web", "--quiet");
  try {
    await writeFile(source, program("begun"));
    await until(ingressPort, "begun");

    let count = 0;
    const pairs: [number, number][] = [];
    await repeat(20, async () => {
      const word = `word${count++}`;
      const saved = await time(async () => {
        await writeFile(source, program(word));
        await until(ingressPort, word);
      });
      pairs.push([saved, await alone(source, word)]);
      return 0;
    });
    await setTimeout(5000);
    const before = await processorSeconds(session.pid!);
    await setTimeout(idleSeconds * 1000);
    const idle = ((await processorSeconds(session.pid!)) - before) / idleSeconds;
    return [
      summarize(
        "save to changed response",
        "ms",
        pairs.map(([saved]) => saved),
      ),
      summarize(
        "the process's own start",
        "ms",
        pairs.map(([, own]) => own),
      ),
      summarize(
        "save to changed response, less the process's own start",
        "ms",
        pairs.map(([saved, own]) => saved - own),
        {
          atMost: 300,
        },
      ),
      summarize("idle session", "percent of a core", [idle * 100], { atMost: 1 }),
    ];
  } finally {
    session.kill("SIGINT");
    await once(session, "exit");
  }
}

/** The same program on this machine: from starting it to its first answer. */
async function alone(source: string, word: string): Promise<number> {
  const port = await freePort();
  const env = { ...process.env, PORT: String(port) };
  const started = performance.now();
  const child = spawn(process.execPath, [source], { env, stdio: "ignore" });
  await until(port, word);
  const took = performance.now() - started;
  child.kill();
  await once(child, "exit");
  return took;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Asks every other millisecond until the answer is the word. */
async function until(port: number, word: string): Promise<void> {
  while ((await ask(port)) !== word) await setTimeout(2);
}

function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    // A pod that ends takes requests with it.
    const signal = AbortSignal.timeout(2000);
    get({ host: "127.0.0.1", port, agent: false, signal, headers: { host } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text));
    }).on("error", () => resolve(""));
  });
}

/** Of the process and of all that it started: user and system time (proc_pid_stat(5), in hundredths of a second). */
export async function processorSeconds(pid: number): Promise<number> {
  const stats = await Promise.all(
    (await readdir("/proc"))
      .filter((entry) => /^\d+$/.test(entry))
      .map((entry) => readFile(`/proc/${entry}/stat`, "utf8").catch(() => "")),
  );
  const processes = stats
    .filter((stat) => stat !== "")
    .map((stat) => {
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return {
        pid: Number.parseInt(stat, 10),
        parent: Number(fields[1]),
        ticks: Number(fields[11]) + Number(fields[12]),
      };
    });
  const family = new Set([pid]);
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const one of processes) if (family.has(one.parent)) family.add(one.pid);
  }
  return processes.filter((one) => family.has(one.pid)).reduce((sum, { ticks }) => sum + ticks, 0) / 100;
}
