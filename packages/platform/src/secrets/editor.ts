/**
 * A person's own editor on a text that must not reach a disk: the file lies in a private folder of a memory-backed file
 * system, with whatever the editor writes beside it, and the folder goes away whatever happens to this process.
 */
import { spawn } from "node:child_process";
import { access, constants, readFile, writeFile } from "node:fs/promises";
import { basename, delimiter, join } from "node:path";
import { isErrno, messageOf } from "@kws/base/errors";
import { SopsError } from "@kws/sops/errors";
import { splitWords } from "@kws/sops/keys/shellwords";
import { openMemoryFolder } from "./memory-folder.ts";

export interface EditorOptions {
  /** Names the editor (`SOPS_EDITOR`, then `EDITOR`) and the runtime folder; also the editor's own. */
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
}

export interface PrivateFile extends AsyncDisposable {
  /** Runs the editor on the file and answers what it holds then; that it is as at the beginning is an error, as for sops. */
  edit(): Promise<Buffer>;
}

/** A private file with the content; the name is `path`'s, so that editors know the language. */
export async function openPrivateFile(
  path: string,
  content: Uint8Array,
  { env, signal }: EditorOptions,
): Promise<PrivateFile> {
  const [program, ...args] = await editorOf(env);
  const folder = await openMemoryFolder({ env, platform: process.platform, uid: process.getuid?.(), signal });
  const file = join(folder.path, basename(path));
  try {
    await writeFile(file, content, { mode: 0o600, flag: "wx" });
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw new SopsError(
      "couldNotWriteOutputFile",
      `the text cannot be laid out to be edited: ${messageOf(error)}`,
      {
        fix: "Free some memory, or space in $XDG_RUNTIME_DIR.",
        cause: error,
      },
    );
  }
  return {
    async edit() {
      const failure = await runEditor(program ?? "", [...args, file], env, signal);
      const edited = failure === undefined ? await unlessRemoved(file) : undefined;
      if (edited === undefined) {
        throw new SopsError("noEditorFound", `the editor ${program} ${failure ?? "removed the file"}`, {
          fix: "Nothing was changed. Set EDITOR to another one, or mend it.",
        });
      }
      if (!edited.equals(content)) return edited;
      throw new SopsError("fileHasNotBeenModified", `${path} was not changed`, { at: path });
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

async function unlessRemoved(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Undefined where it did what it was asked. */
async function runEditor(
  program: string,
  args: string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<string | undefined> {
  signal.throwIfAborted();
  const child = spawn(program, args, { stdio: "inherit", env });
  const stop = () => child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  const failure = await new Promise<string | undefined>((resolve) => {
    child.on("error", (error) => resolve(`cannot be started: ${messageOf(error)}`));
    child.on("close", (code, killed) =>
      resolve(code === 0 ? undefined : `ended with ${killed ?? `exit code ${code}`}`),
    );
  });
  signal.removeEventListener("abort", stop);
  signal.throwIfAborted();
  return failure;
}

async function editorOf(env: NodeJS.ProcessEnv): Promise<string[]> {
  const named = env["SOPS_EDITOR"] || env["EDITOR"];
  if (named !== undefined && named.trim() !== "") return splitWords(named);
  for (const name of ["vim", "nano", "vi"]) {
    for (const folder of (env["PATH"] ?? "").split(delimiter)) {
      if (await isExecutable(join(folder, name))) return [join(folder, name)];
    }
  }
  throw new SopsError("noEditorFound", "there is no editor: neither EDITOR nor vim, nano or vi", {
    code: "tool-missing",
    fix: "Set EDITOR to one, or use `kws secrets set`.",
  });
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
