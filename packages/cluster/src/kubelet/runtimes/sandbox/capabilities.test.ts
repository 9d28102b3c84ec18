import { expect, test } from "vitest";
import { all, boundingSet, fromMask } from "./capabilities.ts";

const everything = new Set(all);

test("dropping ALL leaves only what is added", () => {
  expect(boundingSet({ add: ["NET_BIND_SERVICE"], drop: ["ALL"] }, false, everything)).toBe(
    "-all,+net_bind_service",
  );
});

test("names are taken in any case and with their prefix", () => {
  const set = boundingSet({ add: ["cap_sys_admin"], drop: ["Cap_Kill"] }, false, everything);
  expect(set).toContain("+sys_admin");
  expect(set).not.toContain("+kill");
  expect(set).toContain("+chown");
});

test("privileged has all that the machine gives, and no more", () => {
  expect(boundingSet({ add: [], drop: ["ALL"] }, true, new Set(["CHOWN", "BPF"]))).toBe("-all,+chown,+bpf");
});

test("a mask of the kernel is read bit by bit", () => {
  expect([...fromMask("00000000a00425fb")].sort()).toEqual(
    [...boundingSet({ add: [], drop: [] }, false, everything).matchAll(/\+(\w+)/g)]
      .map(([, name = ""]) => name.toUpperCase())
      .sort(),
  );
});

test("nobody makes device nodes without asking", () => {
  expect(boundingSet({ add: [], drop: [] }, false, everything)).not.toContain("mknod");
  expect(boundingSet({ add: ["MKNOD"], drop: [] }, false, everything)).toContain("+mknod");
});
