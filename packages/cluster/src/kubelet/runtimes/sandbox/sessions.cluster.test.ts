import { once } from "node:events";
import { expect, test } from "vitest";
import { describeSandbox, text } from "../../testing/sandbox-harness.ts";

describeSandbox("Commands and attached clients", (h) => {
  const { exec, logOf } = h;

  test("a command runs in the container with its environment, input, both outputs and exit code", async () => {
    await h.runtime.startContainer(
      h.fixture.container("main", "pod", ["sleep", "1000"], { env: { FOO: "bar" } }),
    );
    const result = await exec("main", ["sh", "-c", "cat; echo $FOO $MORE; echo err >&2; exit 5"], "input\n", {
      env: { MORE: "m" },
    });
    expect(result).toEqual({ stdout: "input\nbar m\n", stderr: "err\n", code: 5 });
    const big = "0123456789abcdef".repeat(200_000);
    expect((await exec("main", ["cat"], big)).stdout).toBe(big);
    await expect(h.runtime.exec("main", { argv: ["nope"], tty: false, stdin: false })).rejects.toThrow(
      'exec: "nope": executable file not found in $PATH',
    );
    const killed = await h.runtime.exec("main", { argv: ["sleep", "1000"], tty: false, stdin: false });
    killed.close();
    expect(await killed.exit).toBe(137);
  });

  test("a terminal has the size it is given and passes output on as it comes", async () => {
    const session = await h.runtime.exec("main", { argv: ["sh"], tty: true, stdin: true });
    session.resize(101, 37);
    session.stdin.write("until [ \"$(stty size)\" = '37 101' ]; do :; done; tty; exit 9\n");
    const shown = await text(session.stdout);
    expect(shown).toContain("/dev/pts/0");
    expect(await session.exit).toBe(9);
  });

  test("an attached client talks with the container's own process", async () => {
    const argv = ["sh", "-c", "read line; echo got $line; read line; exit 6"];
    await h.runtime.startContainer(h.fixture.container("attached", "pod", argv, { stdin: true }));
    const session = await h.runtime.attach?.("attached");
    session?.stdin.write("hello\n");
    const [chunk] = (await once(session?.stdout ?? process.stdin, "data")) as [Buffer];
    expect(chunk.toString()).toBe("got hello\n");
    session?.stdin.write("more\n");
    expect(await session?.exit).toBe(6);
    expect(logOf("attached")).toBe("stdout F got hello\n");
  });
});
