import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { kind } from "./kind.ts";

test("a cluster leads the Ingress port of this machine alone to the node that Ingress controllers go to", async () => {
  await using dir = await tempDir("kws-kind");
  const tool = join(dir.path, "kind");
  await writeFile(
    tool,
    `#!/bin/sh\nPATH=/usr/bin:/bin\ncat > "${dir.path}/stdin"\necho "$*" > "${dir.path}/arguments"\n`,
  );
  await chmod(tool, 0o755);
  const made = kind({
    env: { PATH: dir.path },
    home: dir.path,
    kubeconfig: () => join(dir.path, "kubeconfig"),
  });
  await made.create?.("kws", { ingressPort: 8099 });
  expect(await readFile(join(dir.path, "arguments"), "utf8")).toContain("--config -");
  expect(JSON.parse(await readFile(join(dir.path, "stdin"), "utf8"))).toMatchObject({
    kind: "Cluster",
    nodes: [
      {
        labels: { "ingress-ready": "true" },
        extraPortMappings: [{ containerPort: 80, hostPort: 8099, listenAddress: "127.0.0.1" }],
      },
    ],
  });
});
