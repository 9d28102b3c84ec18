import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "jsonc-parser";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Attachment } from "./attachment.ts";
import { writeEditors } from "./editors.ts";
import { withLaunch } from "./vscode.ts";

let workspace: string;
beforeEach(async () => {
  workspace = await mkdtemp(join(tmpdir(), "kws-editors-"));
  await mkdir(join(workspace, "services/web"), { recursive: true });
});
afterEach(() => rm(workspace, { recursive: true, force: true }));

const attachment: Attachment = {
  service: "web",
  language: "node",
  port: 9229,
  folder: "services/web",
  remote: "/app",
  exec: ["kubectl", "exec", "deployment/web", "--"],
};
const folders = () => ({ workspace, service: join(workspace, "services/web") });
const launch = join(".vscode", "launch.json");

test("an entry is added to launch.json, and comments, other entries and trailing commas stay", () => {
  const before = `{
    // ours
    "version": "0.2.0",
    "configurations": [
        { "name": "tests", "type": "node", "request": "launch" }, // keep
    ],
}
`;
  const after = withLaunch(before, attachment, launch);
  expect(after.startsWith(before.slice(0, before.indexOf("\n    ],")))).toBe(true);
  const { configurations } = parse(after) as { configurations: Record<string, unknown>[] };
  expect(configurations.map(({ name }) => name)).toEqual(["tests", "kws: web"]);
  expect(configurations[1]).toMatchObject({
    port: 9229,
    localRoot: "${workspaceFolder}/services/web",
    remoteRoot: "/app",
    restart: true,
  });
});

test("an entry that is there gets the new port, and keeps what somebody added to it", () => {
  const before = withLaunch(undefined, attachment, launch).replace(
    '"type": "node",',
    '"type": "node", // mine\n      "smartStep": true,',
  );
  expect(withLaunch(before, attachment, launch)).toBe(before);
  const after = withLaunch(before, { ...attachment, port: 9230 }, launch);
  expect(after).toBe(before.replace("9229", "9230"));
});

test("a launch.json that cannot be read is left alone, and the place is told", () => {
  expect(() => withLaunch('{\n  "configurations": [}\n', attachment, launch)).toThrow(
    expect.objectContaining({ code: "config", at: `${launch}:2:22` }),
  );
});

test.each([
  ["python", { type: "debugpy", connect: { host: "127.0.0.1", port: 9229 } }],
  ["jvm", { type: "java", hostName: "127.0.0.1", port: 9229 }],
  ["go", { type: "go", mode: "remote", substitutePath: [{ from: "${workspaceFolder}", to: "/app" }] }],
  [
    "dotnet",
    {
      type: "coreclr",
      pipeTransport: { pipeProgram: "kubectl" },
      sourceFileMap: { "/app": "${workspaceFolder}" },
    },
  ],
] as const)("%s is attached to by the debugger of its extension", (language, expected) => {
  const { configurations } = parse(
    withLaunch(undefined, { ...attachment, language, folder: "." }, launch),
  ) as {
    configurations: unknown[];
  };
  expect(configurations).toMatchObject([expected]);
});

test("Visual Studio Code's file is written unless the folder is another editor's, and only when it changes", async () => {
  const { folder: _folder, ...plain } = attachment;
  expect(await writeEditors(undefined, folders(), plain)).toEqual([join(workspace, launch)]);
  expect(await writeEditors(undefined, folders(), plain)).toEqual([]);
  expect(await writeEditors("none", folders(), { ...plain, port: 1 })).toEqual([]);

  await rm(join(workspace, ".vscode"), { recursive: true });
  await mkdir(join(workspace, ".idea"));
  const path = join(workspace, ".run/kws-web.run.xml");
  expect(await writeEditors(undefined, folders(), plain)).toEqual([path]);
  const text = await readFile(path, "utf8");
  expect(text).toContain('port="9229" restartOnDisconnect="true"');
  expect(text).toContain('<mapping url="/app" local-file="$PROJECT_DIR$/services/web" />');
});

test("a service whose repository is elsewhere gets its own", async () => {
  const elsewhere = await mkdtemp(join(tmpdir(), "kws-editors-"));
  await writeFile(join(elsewhere, "package.json"), "{}");
  const { folder: _folder, ...plain } = attachment;
  const [path = ""] = await writeEditors("vscode", { workspace, service: elsewhere }, plain);
  expect(path).toBe(join(elsewhere, launch));
  expect(await readFile(path, "utf8")).toContain('"localRoot": "${workspaceFolder}"');
  await rm(elsewhere, { recursive: true });
});
