import { UserError } from "@kws/base/errors";
import { defineCommand } from "../command.ts";
import { completionScript, shells } from "../completion.ts";

export const command = defineCommand({
  summary: "a script that completes commands, options and live names",
  args: [{ name: "shell", description: shells.join(", "), required: true, completes: "shells" }],
  examples: [
    "source <(kws completion bash)",
    "kws completion zsh > ~/.zfunc/_kws",
    "kws completion fish > ~/.config/fish/completions/kws.fish",
    "kws completion powershell | Out-String | Invoke-Expression",
  ],
  async run({ args: [shell] }) {
    if (shell === undefined) throw new UserError("no shell was named", { code: "usage" });
    const script = completionScript(shell);
    return { text: script, data: { shell, script } };
  },
});
