import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

// Node itself sees to the lowest ones.
test("descriptors that a process was started with do not reach its children", () => {
  const module = new URL("inherited.ts", import.meta.url).href;
  const program = `
    import { spawnSync } from "node:child_process";
    const left = () => spawnSync("ls", ["/proc/self/fd/"], { encoding: "utf8" }).stdout.split("\\n").includes("40");
    const { closeInheritedDescriptors } = await import(${JSON.stringify(module)});
    const before = left();
    closeInheritedDescriptors();
    console.log(JSON.stringify([before, left()]));
  `;
  const { stdout } = spawnSync(
    "bash",
    ["-c", 'exec "$@" 40</', "bash", process.execPath, "--input-type=module"],
    {
      input: program,
      encoding: "utf8",
    },
  );
  expect(JSON.parse(stdout)).toEqual([true, false]);
});
