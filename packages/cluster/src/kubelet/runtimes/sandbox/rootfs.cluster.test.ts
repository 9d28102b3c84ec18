import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Mount } from "../../runtime.ts";
import { describeSandbox } from "../../testing/sandbox-harness.ts";

describeSandbox("Root file systems", (h) => {
  const { run, folder } = h;

  test("a single file is mounted into a folder that the image does not have", async () => {
    const source = join(h.fixture.folder, "app.conf");
    writeFileSync(source, "level=1\n");
    const { code, log } = await run(["sh", "-c", "cat /etc/myapp/conf.d/app.conf"], {
      mounts: [{ type: "bind", source, target: "/etc/myapp/conf.d/app.conf", readOnly: true }],
    });
    expect([code, log]).toEqual([0, "stdout F level=1\n"]);
  });

  test("a read-only root file system refuses writes but for its volumes", async () => {
    const { code, log } = await run(
      ["sh", "-c", "touch /x 2>/dev/null && echo written; touch /v/x && exit 3"],
      {
        readOnlyRootFilesystem: true,
        mounts: [{ type: "tmpfs", target: "/v", sizeBytes: 4096 }],
      },
    );
    expect([code, log]).toEqual([3, ""]);
  });

  test("files and folders are mounted, nested ones too, read-only ones as such", async () => {
    const volume = folder();
    writeFileSync(join(volume, "file"), "content\n");
    const argv = ["sh", "-c", "cat '/a b/f' '/a b/deep/file'; echo x >'/a b/deep/file' || exit 4"];
    const { code, log } = await run(argv, {
      mounts: [
        { type: "tmpfs", target: "/a b" },
        { type: "bind", source: join(volume, "file"), target: "/a b/f", readOnly: true },
        { type: "bind", source: volume, target: "/a b/deep", readOnly: true },
      ],
    });
    expect(code).toBe(4);
    expect(log).toContain("stdout F content\nstdout F content\n");
  });

  test("a missing volume is a start error that names it", async () => {
    const mounts: Mount[] = [
      { type: "bind", source: join(h.fixture.folder, "absent"), target: "/x", readOnly: true },
    ];
    await expect(run(["sh"], { mounts })).rejects.toMatchObject({
      reason: "CreateContainerError",
      message: expect.stringContaining("absent") as string,
    });
  });

  test("nothing of the host can be reached, by parent folders, links in volumes, or /proc", async () => {
    const secret = join(h.fixture.folder, "host-secret");
    writeFileSync(secret, "secret");
    const volume = folder();
    symlinkSync("../../../../../../../../../../..", join(volume, "up"));
    symlinkSync(h.fixture.folder, join(volume, "absolute"));
    const argv = [
      "sh",
      "-c",
      `for r in / /.. /proc/1/root /proc/self/root /proc/1/cwd /v/up /v/absolute; do [ ! -e "$r${secret}" ] || echo "$r"; done; [ ! -e /v/absolute/host-secret ] || echo link; chroot /v/up /bin/ls / >/dev/null; mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; ls -A /dev; cat /proc/mounts`,
    ];
    const { log } = await run(argv, {
      mounts: [
        { type: "bind", source: volume, target: "/v", readOnly: false },
        { type: "tmpfs", target: `/v/up${h.fixture.folder}/planted` },
      ],
    });
    expect(
      log.split("\n").filter((line) => /^stdout F (\/($|\.|proc\/|v\/)|link|remounted)/.test(line)),
    ).toEqual([]);
    expect(existsSync(join(h.fixture.folder, "planted"))).toBe(false);
    expect(log).not.toMatch(/\/dev\/\.[0-9a-f]{16}/);
    expect(log).not.toMatch(/F \.[0-9a-f]{16}$/m);
    expect(log).toMatch(/^stdout F proc \/proc\/sys proc ro/m);
  });
});
