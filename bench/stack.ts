/** `kws stack start` of fifty trivial services: with nothing built, with all images built, and where nothing is to be done. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

const count = 50;

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const file = join(kws.home, "many/kws.yaml");
  await write(dirname(file));
  const start = () => kws.kws("stack", "start", "--file", file, "--timeout", "10m");
  await kws.kws("cluster", "start");
  const cold = await time(start);
  const warm = await repeat(3, () => time(start));
  await kws.kws("stack", "remove", "--file", file, "--yes");
  const built = await time(start);
  const name = `stack start, ${count} services`;
  return [
    summarize(`${name}, nothing built`, "ms", [cold], { atMost: 30_000 }),
    summarize(`${name}, images built`, "ms", [built], { atMost: 30_000 }),
    summarize(`${name}, nothing changed`, "ms", warm, { atMost: 3000 }),
  ];
}

/** Each with an image of its own, a Service and a readiness probe. */
async function write(folder: string): Promise<void> {
  await put(join(folder, "kws.yaml"), "name: many\nservices: ['./services/*']\nstacks: { many: {} }\n");
  for (let index = 1; index <= count; index++) {
    const name = `service-${index}`;
    const own = join(folder, "services", name);
    await put(join(own, "kws.yaml"), `name: ${name}\nbuild: {}\n`);
    await put(join(own, "Dockerfile"), 'FROM kws.local/node:24\nCOPY main.js .\nCMD ["node", "main.js"]\n');
    await put(
      join(own, "main.js"),
      `require("http").createServer((_, answer) => answer.end("${name}")).listen(8080);\nprocess.on("SIGTERM", () => process.exit());\n`,
    );
    await put(join(own, "chart/Chart.yaml"), `apiVersion: v2\nname: ${name}\nversion: 1.0.0\n`);
    await put(join(own, "chart/values.yaml"), "image: { repository: none, digest: none }\n");
    await put(join(own, "chart/templates/all.yaml"), manifests);
  }
}

const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ .Release.Name }} }
spec:
  selector: { matchLabels: { app: {{ .Release.Name }} } }
  template:
    metadata: { labels: { app: {{ .Release.Name }} } }
    spec:
      containers:
        - name: main
          image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}"
          readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: {{ .Release.Name }} }
spec:
  selector: { app: {{ .Release.Name }} }
  ports: [{ port: 80, targetPort: 8080 }]
`;

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}
