import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AddressPool } from "./bridge.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "kws-addresses-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("an address is kept for its pod, also by a later allocator, and not reused soon", () => {
  const file = join(folder, "addresses.json");
  const pool = new AddressPool(file);
  const first = pool.allocate("a");
  expect(first).toBe("10.244.0.10");
  expect(pool.allocate("b")).toBe("10.244.0.11");
  pool.release("b");
  const later = new AddressPool(file);
  expect(later.allocate("a")).toBe(first);
  expect(later.allocate("c")).toBe("10.244.0.12");
});
