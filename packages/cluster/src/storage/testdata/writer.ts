/** Writes objects for ever, several at a time, and prints the name of each once its write is acknowledged. */
import { writeSync } from "node:fs";
import { Store } from "../store.ts";

const store = new Store(process.argv[2] ?? "");

async function writeOn(lane: number): Promise<void> {
  for (let index = 0; ; index++) {
    const name = `lane-${lane}-${index}`;
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } };
    await store.create("configmaps", `default/${name}`, object);
    writeSync(1, `${name}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, (_, lane) => writeOn(lane)));
