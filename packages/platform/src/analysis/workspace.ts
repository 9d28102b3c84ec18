/** Checks of the workspace as a whole: its files, how services depend on each other, its secrets, and its repository. */
import { appendFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { checkGraph } from "../project/graph.ts";
import { openRepository, type Repository } from "../project/repository.ts";
import { graphNode } from "../project/workspace.ts";
import { openKeys } from "../secrets/open.ts";
import { isCertain, listSecrets, secretsReport } from "../secrets/report.ts";
import { type Check, faultFinding, type Finding, ok, faultOf } from "./finding.ts";
import { textOf } from "./machine.ts";
import type { Subject } from "./subject.ts";

const schema: Check = {
  id: "schema",
  family: "workspace",
  about: "kws.yaml of the workspace and of each service: every fault, and not the first alone",
  async run(subject) {
    if (subject.file === undefined) {
      return [
        {
          severity: "info",
          message: "there is no kws.yaml here or above: only the machine is looked at",
          fix: "Run `kws init` to make one, or name it with --file.",
        },
      ];
    }
    const { faults, services } = await subject.survey();
    if (faults.length === 0)
      return [{ ...ok(`it is in order, and so are its services: ${services.length}`), where: subject.file }];
    return faults.map((fault) => faultFinding(fault));
  },
};

const dependencies: Check = {
  id: "dependencies",
  family: "workspace",
  about: "services depend on services of the workspace, and not in a cycle",
  async run(subject) {
    const { project, services, faults } = await subject.survey();
    // One that cannot be read may be what is depended on; a service alone depends on what its workspaces know.
    if (project === undefined || project.implicit || faults.length > 0) return [];
    try {
      checkGraph(services.map(graphNode));
      return [ok("what services depend on is there, without a cycle")];
    } catch (error) {
      return [faultFinding(faultOf(error))];
    }
  },
};

/** The workspace's own folder, and those of its services. */
async function folders(subject: Subject): Promise<string[]> {
  const project = await subject.project();
  const services = (await subject.services()).map(({ dir }) => dir);
  return project === undefined || subject.chosen.length > 0 ? services : [project.root, ...services];
}

const secrets: Check = {
  id: "secrets",
  family: "service",
  about:
    "secrets in plain files, and encrypted files that are not as their rules say, as `kws secrets report` tells them",
  timeoutMs: 20_000,
  async run(subject, signal) {
    const { env, clock } = subject;
    const where = await folders(subject);
    if (where.length === 0) return [];
    const report = await secretsReport({ folders: where, env, signal, now: new Date(clock()) });
    const found = report.findings.map((one): Finding => ({
      severity: isCertain(one) ? "error" : "info",
      where: one.at,
      message: one.message,
      fix: isCertain(one)
        ? "Take it out, and put it into an encrypted file: `kws secrets edit`; then change the secret itself."
        : "Where it is a secret, put it into the profile's secrets.yaml: `kws secrets edit`.",
    }));
    return found.length > 0
      ? found
      : [ok(`no secrets in plain files; ${report.files.length} files are encrypted`)];
  },
};

const opens: Check = {
  id: "secrets-open",
  family: "service",
  about: "the keys of this machine open the encrypted files; nothing is decrypted but their data keys",
  timeoutMs: 20_000,
  async run(subject, signal) {
    const where = await folders(subject);
    if (where.length === 0) return [];
    const keyring = await openKeys(subject, signal);
    const files = await listSecrets({ folders: where, env: subject.env, signal }, keyring);
    if (files.length === 0) return [];
    const closed = files.filter((one) => !one.opens);
    if (closed.length === 0) return [ok(`${files.length} encrypted files, all of which your keys open`)];
    return closed.map(({ file, recipients }): Finding => ({
      severity: "warning",
      where: file,
      message: `no key of yours opens it: it is for ${recipients.join(", ")}`,
      fix: "Ask one of them to add your key to .sops.yaml and to run `kws secrets updatekeys`.",
    }));
  },
};

/** Files of git's own folder that are there while something is half done, and how it goes on. */
const halfDone: [file: string, what: string, fix: string][] = [
  ["MERGE_HEAD", "a merge", "git merge --continue"],
  ["rebase-merge", "a rebase", "git rebase --continue"],
  ["rebase-apply", "a rebase", "git rebase --continue"],
  ["CHERRY_PICK_HEAD", "a cherry-pick", "git cherry-pick --continue"],
  ["REVERT_HEAD", "a revert", "git revert --continue"],
];

const git: Check = {
  id: "git",
  family: "workspace",
  about: "the state of the workspace's repository: half-done merges, a detached HEAD, what is not committed",
  async run(subject, signal) {
    const project = await subject.project();
    if (project === undefined) return [];
    const repository = await repositoryOf(project.root, subject, signal);
    if (repository === undefined) {
      return [
        {
          severity: "info",
          where: project.root,
          message: "it is not under git: packages get their versions from commits",
          fix: "Run `git init`, and commit.",
        },
      ];
    }
    const folder = (await repository.read(["rev-parse", "--absolute-git-dir"])).trim();
    const half = halfDone
      .filter(([name]) => existsSync(join(folder, name)))
      .map(([, what, fix]): Finding => ({
        severity: "warning",
        where: repository.root,
        message: `${what} is half done`,
        fix: `Run \`${fix}\`, or the same with --abort.`,
      }));
    const lines = (await repository.read(["status", "--porcelain=v2", "--branch", "--", project.root])).split(
      "\n",
    );
    const branch = lines.find((line) => line.startsWith("# branch.head "))?.slice("# branch.head ".length);
    const changed = lines.filter((line) => line !== "" && !line.startsWith("#")).length;
    const state = `${branch ?? "?"}, ${changed === 0 ? "nothing" : changed === 1 ? "1 file" : `${changed} files`} to commit`;
    if (branch === "(detached)") {
      const fix = "Check out a branch before you commit: `git switch BRANCH`.";
      return [
        ...half,
        { severity: "info", where: repository.root, message: `no branch is checked out; ${state}`, fix },
      ];
    }
    return [...half, { ...ok(state), where: repository.root }];
  },
};

async function repositoryOf(
  folder: string,
  { env }: Subject,
  signal: AbortSignal,
): Promise<Repository | undefined> {
  const found = await openRepository(folder, { env, signal }).catch(faultOf);
  if (!(found instanceof UserError)) return found;
  if (found.code === "config" || found.code === "tool-missing") return undefined;
  throw found;
}

/** What tools write into a service's folder and nobody means to commit, by the file that tells the tool. */
const written: [tells: string, writes: string][] = [
  ["package.json", "node_modules"],
  ["pyproject.toml", ".venv"],
  ["requirements.txt", ".venv"],
  ["", ".env"],
];

const ignored: Check = {
  id: "gitignore",
  family: "service",
  about: "installed dependencies and `.env` files are left out of git",
  async run(subject, signal) {
    const services = await subject.services();
    const found = await Promise.all(
      services.map(async ({ dir }): Promise<Finding[]> => {
        const names = written
          .filter(([tells, writes]) => existsSync(join(dir, tells)) && existsSync(join(dir, writes)))
          .map(([, writes]) => writes);
        if (names.length === 0) return [];
        const repository = await repositoryOf(dir, subject, signal);
        if (repository === undefined) return [];
        const open = await Promise.all(
          [...new Set(names)].map(async (name) =>
            (await isLeftOut(repository, join(dir, name))) ? [] : [name],
          ),
        );
        return open.flat().map((name) => ignoreFinding(dir, name));
      }),
    );
    return found.flat();
  },
};

/** Tracked files count as known: git leaves them in, whatever a pattern says. */
async function isLeftOut(repository: Repository, path: string): Promise<boolean> {
  const { exitCode } = await repository.git(["check-ignore", "--quiet", "--", path]);
  return exitCode === 0;
}

function ignoreFinding(dir: string, name: string): Finding {
  const file = join(dir, ".gitignore");
  const line = name === ".env" ? "/.env" : `/${name}/`;
  return {
    severity: "warning",
    where: join(dir, name),
    message: `git does not leave it out: the next \`git add\` takes it${name === ".env" ? ", and it may hold secrets" : ""}`,
    fix: `Add the line ${line} to ${file}.`,
    repair: {
      done: `added ${line} to ${file}`,
      async apply() {
        const before = await textOf(file);
        await appendFile(file, `${before === "" || before.endsWith("\n") ? "" : "\n"}${line}\n`);
      },
    },
  };
}

export const workspaceChecks = [schema, dependencies, git];
export const repositoryChecks = [secrets, opens, ignored];
