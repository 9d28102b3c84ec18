/** The directions that imports may take are lint rules; these tests plant imports that break them. */
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execFile } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-boundaries-"));
  await cp(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
});
afterAll(() => rm(folder, { recursive: true }));

async function lint(file: string, imported: string): Promise<string> {
  const path = join(folder, file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `import { thing } from "${imported}";\nexport const other = thing;\n`);
  return new Promise((resolve) => {
    execFile(join(root, "node_modules/.bin/oxlint"), [file], { cwd: folder }, (_error, stdout) =>
      resolve(stdout),
    );
  });
}

test.each([
  ["packages/base/src/a.ts", "@kws/kube/client"],
  ["packages/kube/src/a.ts", "@kws/cluster/apiserver/server"],
  ["packages/cluster/src/network/a.ts", "@kws/platform/project/load"],
  ["packages/cluster/src/network/a.ts", "@kws/sops/decrypt"],
  ["packages/oci/src/a.ts", "@kws/cluster/images/store"],
  ["packages/sops/src/a.ts", "@kws/kube/client"],
  ["packages/sops/src/a.ts", "@kws/platform/project/load"],
  ["packages/platform/src/stacks/a.ts", "@kws/cluster/lifecycle"],
  ["packages/platform/src/stacks/a.ts", "../releases/deploy.ts"],
  ["packages/platform/src/services/a.ts", "../releases/deploy.ts"],
  ["packages/platform/src/charts/a.ts", "../attach/forward.ts"],
  ["packages/platform/src/services/a.ts", "../dev/session.ts"],
  ["packages/platform/src/stacks/a.ts", "../dev/session.ts"],
  ["packages/platform/src/dev/a.ts", "../stacks/start.ts"],
  ["packages/platform/src/secrets/a.ts", "../rollouts/state.ts"],
  ["packages/platform/src/charts/a.ts", "../convert/plan.ts"],
  ["packages/platform/src/services/a.ts", "../analysis/finding.ts"],
  ["packages/platform/src/stacks/a.ts", "../tests/run.ts"],
  ["packages/platform/src/tests/a.ts", "../pipeline/run.ts"],
  ["packages/platform/src/pipeline/a.ts", "../tenancy/tenant.ts"],
  ["packages/platform/src/project/a.ts", "../stacks/start.ts"],
  ["packages/platform/src/config/a.ts", "../releases/deploy.ts"],
  ["packages/platform/src/providers/a.ts", "../services/logs.ts"],
  ["packages/platform/src/images/a.ts", "../packages/store.ts"],
  ["packages/platform/src/packages/a.ts", "../stacks/start.ts"],
  ["packages/platform/src/providers/a.ts", "@kws/cluster/lifecycle"],
  ["packages/platform/src/providers/embedded.ts", "../stacks/start.ts"],
  ["packages/cli/src/commands/a.ts", "@kws/cluster/lifecycle"],
  ["packages/api/src/a.ts", "@kws/kube/client"],
  ["packages/server/src/a.ts", "@kws/cluster/lifecycle"],
  ["packages/platform/src/stacks/a.ts", "@kws/server/config"],
])("%s may not import %s", async (file, imported) => {
  expect(await lint(file, imported)).toContain("no-restricted-imports");
});

test.each([
  ["packages/kube/src/a.ts", "@kws/base/errors"],
  ["packages/cluster/src/kubelet/a.ts", "@kws/kube/client"],
  ["packages/cluster/src/images/a.ts", "@kws/oci/registry"],
  ["packages/oci/src/a.ts", "@kws/base/errors"],
  ["packages/platform/src/charts/a.ts", "@kws/oci/repository"],
  ["packages/platform/src/stacks/a.ts", "../providers/provider.ts"],
  ["packages/platform/src/secrets/a.ts", "@kws/sops/decrypt"],
  ["packages/platform/src/packages/a.ts", "@kws/oci/layout"],
  ["packages/platform/src/stacks/a.ts", "../packages/store.ts"],
  ["packages/platform/src/dev/a.ts", "../services/held.ts"],
  ["packages/platform/src/releases/a.ts", "../stacks/install.ts"],
  ["packages/platform/src/convert/compose/a.ts", "../../charts/library.ts"],
  ["packages/platform/src/tests/a.ts", "../stacks/start.ts"],
  ["packages/platform/src/rollouts/a.ts", "../packages/revision.ts"],
  ["packages/platform/src/analysis/a.ts", "../stacks/plan.ts"],
  ["packages/sops/src/a.ts", "@kws/base/errors"],
  ["packages/platform/src/providers/embedded.ts", "@kws/cluster/lifecycle"],
  ["packages/cli/src/commands/a.ts", "@kws/platform/stacks/start"],
  ["packages/api/src/a.ts", "@kws/base/errors"],
  ["packages/server/src/a.ts", "@kws/platform/stacks/start"],
  ["packages/cli/src/commands/a.ts", "@kws/api/client"],
])("%s may import %s", async (file, imported) => {
  expect(await lint(file, imported)).not.toContain("no-restricted-imports");
});
