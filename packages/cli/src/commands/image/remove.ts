import { UserError } from "@kws/base/errors";
import { removeImage } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "forget an image",
  args: [{ name: "reference", description: "the image's name", required: true }],
  examples: ["kws image remove team/orders:1.2.0"],
  async run({ args: [reference = ""] }, ctx) {
    if (!(await removeImage(ctx.locations.data, reference))) {
      throw new UserError(`there is no image ${reference}`, {
        code: "not-found",
        fix: "`kws image list` shows those that there are.",
      });
    }
    return { data: { reference, removed: true }, text: `The image ${reference} is gone.` };
  },
});
