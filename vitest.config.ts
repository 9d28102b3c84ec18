import { defineConfig } from "vitest/config";

// "unit" needs nothing but Node; "cluster" starts embedded clusters and "e2e" the whole product: two files at a time, since
// they mostly wait, and no more, so that real processes do not starve each other on a small machine.
const onRealProcesses = { maxWorkers: 2, sequence: { groupOrder: 1 } };

export default defineConfig({
  test: {
    // What libraries say in a test that passes is of no use to anybody.
    silent: "passed-only",
    projects: [
      {
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: ["**/*.cluster.test.ts"],
        },
      },
      {
        test: {
          name: "cluster",
          include: ["packages/*/src/**/*.cluster.test.ts"],
          ...onRealProcesses,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          globalSetup: "./e2e/setup.ts",
          include: ["e2e/**/*.test.ts"],
          ...onRealProcesses,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
