/** The shop as a clone of its own with a profile `live`, in which payments and orders share an encrypted token. */
import { execFileSync } from "node:child_process";
import { appendFile, cp, mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { encrypt } from "@kws/sops/file";
import { ageKeys } from "@kws/sops/testing/keyring";
import { repository, type Kws } from "./kws.ts";

/** What both have at first. */
const token = "sotto-voce-token";

export interface LiveShop {
  folder: string;
  git(...args: string[]): string;
  /** A profile's encrypted file. */
  secrets(service: string): string;
}

const services = ["postgres", "catalog", "payments", "orders"];

/** Committed; the stack is `live` too. The key is where sops looks for the user's own ones. */
export async function liveShop(kws: Kws): Promise<LiveShop> {
  const folder = join(kws.home, "live");
  const keys = await ageKeys();
  const settings = join(kws.home, ".config/sops/age");
  await mkdir(settings, { recursive: true });
  await appendFile(join(settings, "keys.txt"), `${keys.identity}\n`);
  await writeFile(join(kws.home, ".gitconfig"), "[user]\n  name = A\n  email = a@example.com\n");
  const filter = (path: string) => basename(path) !== "node_modules";
  for (const service of services)
    await cp(join(repository, "examples/shop", service), join(folder, service), { recursive: true, filter });
  const list = services.map((service) => `./${service}`).join(", ");
  await writeFile(
    join(folder, "kws.yaml"),
    `name: shop\nservices: [${list}]\nstacks: { live: { profile: live } }\n`,
  );
  await writeFile(join(folder, ".gitignore"), "node_modules\n");
  const secrets = (service: string) => join(folder, service, "chart/profiles/live/secrets.yaml");
  for (const [service, key] of [
    ["payments", "API_TOKEN"],
    ["orders", "PAYMENTS_TOKEN"],
  ] as const) {
    const options = { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now: new Date() } as const;
    await mkdir(join(secrets(service), ".."), { recursive: true });
    await writeFile(secrets(service), await encrypt(`secrets:\n  ${key}: ${token}\n`, options));
  }
  const git = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: folder,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: kws.home },
    });
  git("init", "--quiet", "--initial-branch=main");
  git("add", "--all");
  git("commit", "--quiet", "--message", "First");
  return { folder, git, secrets };
}
