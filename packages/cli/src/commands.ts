/** Every command by the words typed; its file is loaded only when it runs. */
import type { Command } from "./command.ts";

type Load = () => Promise<{ command: Command }>;

export const commands: Record<string, Load> = {
  init: () => import("./commands/init.ts"),
  demo: () => import("./commands/demo.ts"),
  open: () => import("./commands/open.ts"),
  completion: () => import("./commands/completion.ts"),
  version: () => import("./commands/version.ts"),
  package: () => import("./commands/package.ts"),
  "package list": () => import("./commands/package/list.ts"),
  deploy: () => import("./commands/deploy.ts"),
  publish: () => import("./commands/publish.ts"),
  "cluster start": () => import("./commands/cluster/start.ts"),
  "cluster stop": () => import("./commands/cluster/stop.ts"),
  "cluster status": () => import("./commands/cluster/status.ts"),
  "cluster reset": () => import("./commands/cluster/reset.ts"),
  "cluster list": () => import("./commands/cluster/list.ts"),
  "image list": () => import("./commands/image/list.ts"),
  "image import": () => import("./commands/image/import.ts"),
  "image remove": () => import("./commands/image/remove.ts"),
  "profile list": () => import("./commands/profile/list.ts"),
  "profile render": () => import("./commands/profile/render.ts"),
  "profile diff": () => import("./commands/profile/diff.ts"),
  "profile explain": () => import("./commands/profile/explain.ts"),
  "secrets encrypt": () => import("./commands/secrets/encrypt.ts"),
  "secrets decrypt": () => import("./commands/secrets/decrypt.ts"),
  "secrets edit": () => import("./commands/secrets/edit.ts"),
  "secrets get": () => import("./commands/secrets/get.ts"),
  "secrets set": () => import("./commands/secrets/set.ts"),
  "secrets unset": () => import("./commands/secrets/unset.ts"),
  "secrets updatekeys": () => import("./commands/secrets/updatekeys.ts"),
  "secrets rotate": () => import("./commands/secrets/rotate.ts"),
  "secrets keygen": () => import("./commands/secrets/keygen.ts"),
  "stack start": () => import("./commands/stack/start.ts"),
  "stack remove": () => import("./commands/stack/remove.ts"),
  "stack list": () => import("./commands/stack/list.ts"),
  "stack status": () => import("./commands/stack/status.ts"),
  "service list": () => import("./commands/service/list.ts"),
  "service status": () => import("./commands/service/status.ts"),
  "service logs": () => import("./commands/service/logs.ts"),
  "service exec": () => import("./commands/service/exec.ts"),
  "service restart": () => import("./commands/service/restart.ts"),
};

/** What the first words stand for, in help. */
export const groups: Record<string, string> = {
  cluster: "the embedded cluster of this machine",
  image: "images for embedded clusters",
  profile: "a chart's configuration for one kind of stack",
  secrets: "encrypted files, in the format of sops",
  stack: "services installed together",
  service: "single services of an installed stack",
};
