/**
 * The images of a pretended node, in files of the working folder: what `ctr` and `docker image` say of them and do to them on
 * the way there. Its arguments are the program and what that was called with; any other command is refused, and noted.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { Parser, type ReadEntry } from "tar";

/** A line each: name, digest, digest of the configuration. */
const images = "images";
/** A line each: digest. */
const blobs = "blobs";

const [program = "", ...args] = process.argv.slice(2);
const command = args.slice(args.findIndex((word) => word === "ctr" || word === "image"));
const known = existsSync(images) ? readFileSync(images, "utf8").trim().split("\n") : [];

switch (command.slice(0, 5).join(" ")) {
  case "ctr --namespace k8s.io content ls":
    if (existsSync(blobs)) process.stdout.write(readFileSync(blobs));
    break;
  case "ctr --namespace k8s.io images ls": {
    const filters = command.slice(5).map((filter) => filter.slice("name==".length));
    const wanted = new Set(filters.map((name) => JSON.parse(name) as string));
    for (const line of known) {
      const [name = "", digest] = line.split(" ");
      if (wanted.has(name)) process.stdout.write(`${name} type ${digest} 1 MiB linux/amd64 -\n`);
    }
    break;
  }
  case "ctr --namespace k8s.io images import":
  case "image load":
    await load();
    break;
  case "image ls --quiet --no-trunc":
  case `image ls --quiet --no-trunc ${command[4]}`:
    for (const line of known) {
      const [name, , config] = line.split(" ");
      if (command[4] === undefined || command[4] === name) process.stdout.write(`${config}\n`);
    }
    break;
  default:
    appendFileSync("unexpected", `${[program, ...args].join(" ")}\n`);
    process.exitCode = 97;
}

async function load(): Promise<void> {
  const documents = new Map<string, Buffer[]>();
  const parser = new Parser({
    onReadEntry(entry: ReadEntry) {
      const chunks: Buffer[] = [];
      documents.set(entry.path, chunks);
      entry.on("data", (chunk: Buffer) => chunks.push(chunk));
    },
  });
  for await (const chunk of process.stdin) parser.write(chunk as Buffer);
  parser.end();
  const read = (path: string) => JSON.parse(Buffer.concat(documents.get(path) ?? []).toString()) as never;
  const index: { manifests: { digest: string; annotations: Record<string, string> }[] } = read("index.json");
  for (const path of documents.keys()) {
    if (path.startsWith("blobs/"))
      appendFileSync(blobs, `${path.slice("blobs/".length).replace("/", ":")}\n`);
  }
  for (const { digest, annotations } of index.manifests) {
    const manifest: { config: { digest: string } } = read(`blobs/${digest.replace(":", "/")}`);
    appendFileSync(
      images,
      `${annotations["io.containerd.image.name"]} ${digest} ${manifest.config.digest}\n`,
    );
  }
}
