import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { ContainerStartError, type Mount } from "../../runtime.ts";
import { describeSandbox, until } from "../../testing/runtime-harness.ts";

describeSandbox("Root file systems", (h) => {
  const { run, logOf, folder } = h;

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

  test("a part of a volume is mounted as it stands, and refused once a container has put a link in its place", async () => {
    const volume = folder();
    const whole: Mount = { type: "bind", source: volume, target: "/v", readOnly: false };
    const change = async (script: string) => {
      expect((await run(["sh", "-c", `cd /v; ${script}`], { mounts: [whole] })).code).toBe(0);
    };
    await change("mkdir part other; echo part >part/which; echo single >single");
    const part: Mount = {
      type: "bind",
      source: join(volume, "part"),
      target: "/part",
      readOnly: false,
      within: volume,
    };
    const single: Mount = { ...part, source: join(volume, "single"), target: "/single", readOnly: true };
    const read = () => run(["sh", "-c", "cat /part/which /single"], { mounts: [part, single] });
    expect((await read()).log).toBe("stdout F part\nstdout F single\n");

    for (const script of ["rm -r part; ln -s ../../../../../../etc part", "rm part; ln -s other part"]) {
      await change(script);
      await expect(read()).rejects.toMatchObject({
        reason: "CreateContainerError",
        message: expect.stringContaining("became a symbolic link") as string,
      });
    }
    expect(readFileSync(join(volume, "single"), "utf8")).toBe("single\n");
  });

  test("a container that swaps a folder for a link all the time never gets another's folder mounted", async () => {
    const volume = folder();
    const outside = folder();
    writeFileSync(join(outside, "secret"), "");
    mkdirSync(join(volume, "part"));
    const whole: Mount = { type: "bind", source: volume, target: "/v", readOnly: false };
    const swap = `ln -s ../${basename(outside)} /v/link; echo up
      while :; do mv /v/part /v/real; mv /v/link /v/part; mv /v/part /v/link; mv /v/real /v/part; done`;
    await h.runtime.startContainer(
      h.fixture.container("swap", "pod", ["sh", "-c", swap], { mounts: [whole] }),
    );
    await until(() => logOf("swap").includes("up"));
    const part: Mount = {
      type: "bind",
      source: join(volume, "part"),
      target: "/part",
      readOnly: true,
      within: volume,
    };
    // Most attempts meet the link or nothing; how many meet the folder is chance, and the test's time limit bounds them.
    for (let mounted = 0, attempts = 0; mounted < 3 || attempts < 100; attempts++) {
      const seen = await run(["ls", "/part"], { mounts: [part] }).catch((error: unknown) => {
        if (error instanceof ContainerStartError) return undefined;
        throw error;
      });
      if (seen === undefined) continue;
      expect(seen.log).toBe("");
      mounted += 1;
    }
    await h.runtime.removeContainer("swap");
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
