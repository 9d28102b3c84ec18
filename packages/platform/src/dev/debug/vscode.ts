/** Visual Studio Code's `.vscode/launch.json`: one entry a service, all else in the file as it was. */
import { UserError } from "@kws/base/errors";
import {
  applyEdits,
  type EditResult,
  findNodeAtLocation,
  modify,
  parse,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "jsonc-parser";
import { type Attachment, nameOf } from "./attachment.ts";

/** The file with the entry; `before` is undefined where there is no file. */
export function withLaunch(before: string | undefined, attachment: Attachment, path: string): string {
  const text = before === undefined || before.trim() === "" ? '{\n  "version": "0.2.0"\n}\n' : before;
  const errors: ParseError[] = [];
  const found: unknown = parse(text, errors, { allowTrailingComma: true });
  const [error] = errors;
  if (error !== undefined) {
    const lines = text.slice(0, error.offset).split("\n");
    throw new UserError(`${path} cannot be read: ${printParseErrorCode(error.error)}`, {
      code: "config",
      at: `${path}:${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}`,
      fix: "Correct it, or add --editor none.",
    });
  }
  const { configurations = [] } = (typeof found === "object" && found !== null ? found : {}) as {
    configurations?: { name?: unknown }[];
  };
  const entry = entryOf(attachment);
  const index = configurations.findIndex(({ name }) => name === entry["name"]);
  if (index === -1) return applyEdits(text, insertion(text, configurations.length, entry));
  // The same values in the place of the old ones: comments and keys that somebody added to the entry stay.
  const present = configurations[index] as Record<string, unknown>;
  let after = text;
  for (const [key, value] of Object.entries(entry)) {
    if (JSON.stringify(present[key]) === JSON.stringify(value)) continue;
    const formattingOptions = { insertSpaces: true, tabSize: indentOf(text), eol: "\n" };
    after = applyEdits(after, modify(after, ["configurations", index, key], value, { formattingOptions }));
  }
  return after;
}

/** At the end, by hand: the library would lay out the entry before it anew, and take its comments. */
function insertion(text: string, count: number, entry: Record<string, unknown>): EditResult {
  const tabSize = indentOf(text);
  const root = parseTree(text, [], { allowTrailingComma: true });
  const list = root === undefined ? undefined : findNodeAtLocation(root, ["configurations"]);
  const last = list?.children?.[count - 1];
  if (list === undefined || last === undefined) {
    const formattingOptions = { insertSpaces: true, tabSize, eol: "\n" };
    return modify(text, ["configurations", 0], entry, { formattingOptions });
  }
  const end = last.offset + last.length;
  const rest = text.slice(end, list.offset + list.length - 1);
  const [indent = ""] = /[ \t]*$/.exec(text.slice(0, last.offset)) ?? [];
  const lines = JSON.stringify(entry, undefined, tabSize).replaceAll("\n", `\n${indent}`);
  const comma = rest.trimStart().startsWith(",") ? [] : [{ offset: end, length: 0, content: "," }];
  return [...comma, { offset: end + rest.trimEnd().length, length: 0, content: `\n${indent}${lines}` }];
}

function indentOf(text: string): number {
  return /^( +)"/m.exec(text)?.[1]?.length ?? 2;
}

function entryOf(attachment: Attachment): Record<string, unknown> {
  const { language, port, folder, remote, exec } = attachment;
  const local = folder === "." ? "${workspaceFolder}" : `\${workspaceFolder}/${folder}`;
  const common = (type: string) => ({ name: nameOf(attachment), type, request: "attach" });
  const host = "127.0.0.1";
  switch (language) {
    case "node":
      // https://code.visualstudio.com/docs/nodejs/nodejs-debugging#_remote-debugging
      return {
        ...common("node"),
        address: host,
        port,
        localRoot: local,
        remoteRoot: remote,
        restart: true,
        skipFiles: ["<node_internals>/**"],
      };
    case "python":
      // https://code.visualstudio.com/docs/python/debugging#_remote-script-debugging-with-ssh
      return {
        ...common("debugpy"),
        connect: { host, port },
        pathMappings: [{ localRoot: local, remoteRoot: remote }],
      };
    case "jvm":
      // https://code.visualstudio.com/docs/java/java-debugging#_attach
      return { ...common("java"), hostName: host, port };
    case "go":
      // https://github.com/golang/vscode-go/wiki/debugging#remote-debugging
      return { ...common("go"), mode: "remote", host, port, substitutePath: [{ from: local, to: remote }] };
    case "dotnet":
      // https://code.visualstudio.com/docs/csharp/debugger-settings#_pipetransport
      return {
        ...common("coreclr"),
        processId: "${command:pickRemoteProcess}",
        pipeTransport: {
          pipeProgram: exec[0],
          pipeArgs: exec.slice(1),
          debuggerPath: "/vsdbg/vsdbg",
          pipeCwd: "${workspaceFolder}",
          quoteArgs: false,
        },
        sourceFileMap: { [remote]: local },
      };
  }
}
