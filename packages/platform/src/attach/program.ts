/** The programs that run in a cluster, as the files of a Secret: one bundled file in what is shipped, the sources where kws runs from them. */
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

export interface Program {
  /** By name. */
  files: Record<string, string>;
  main: string;
}

/** By their files in what is shipped; the values are those in `proxy/`. */
const programs = { "intercept-proxy": "main.ts", gateway: "gateway.ts" };

export async function clusterProgram(name: keyof typeof programs): Promise<Program> {
  if (!import.meta.url.endsWith(".ts")) {
    const text = await readFile(fileURLToPath(new URL(`${name}.js`, import.meta.url)), "utf8");
    return { files: { "main.mjs": text }, main: "main.mjs" };
  }
  const folder = fileURLToPath(new URL("proxy", import.meta.url));
  const names = (await readdir(folder)).filter((name) => !name.endsWith(".test.ts"));
  const texts = await Promise.all(names.map((name) => readFile(`${folder}/${name}`, "utf8")));
  return {
    files: Object.fromEntries(names.map((name, index) => [name, texts[index] ?? ""])),
    main: programs[name],
  };
}
