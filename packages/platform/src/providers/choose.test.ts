import { expect, test } from "vitest";
import { chooseProvider, type ProviderChoice } from "./choose.ts";

const choose = (choice: Partial<ProviderChoice>) =>
  chooseProvider({
    workspace: {},
    user: {},
    data: "/nonexistent/data",
    userConfig: "/nonexistent/config.yaml",
    env: { PATH: "/nonexistent" },
    home: "/nonexistent",
    ...choice,
  });

test.each<[string, Partial<ProviderChoice>, string]>([
  ["nothing says anything", {}, "embedded"],
  ["the user's settings do", { user: { provider: "kind" } }, "kind"],
  ["the workspace's do too", { workspace: { provider: "k3d" }, user: { provider: "kind" } }, "k3d"],
  ["a flag does as well", { provider: "minikube", workspace: { provider: "k3d" } }, "minikube"],
  ["a context is named", { context: "staging", workspace: { provider: "k3d" } }, "kubeconfig"],
  ["a context is named for the workspace", { workspace: { context: "staging" } }, "kubeconfig"],
  [
    "a cluster of the workspace's provider is named",
    { cluster: "two", workspace: { provider: "k3d" } },
    "k3d",
  ],
  [
    "a cluster is named, which a context is not",
    { cluster: "two", workspace: { context: "staging" } },
    "embedded",
  ],
])("where %s", async (_when, choice, wanted) => {
  expect((await choose(choice)).name).toBe(wanted);
});

test("a context and another provider contradict each other", async () => {
  await expect(choose({ provider: "k3d", context: "staging" })).rejects.toMatchObject({ code: "usage" });
});

test("a cluster's name does not lead out of its folder", async () => {
  await expect(choose({ provider: "k3d", cluster: "../../elsewhere" })).rejects.toMatchObject({
    code: "usage",
  });
});
