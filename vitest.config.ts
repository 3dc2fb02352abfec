import { defineConfig } from "vitest/config";

/** Pure tests take milliseconds; those on real parts (engine, BuildKit) take the machine and run one file at a time. */
const realParts = {
  testTimeout: 300_000,
  hookTimeout: 300_000,
  fileParallelism: false,
  globalSetup: ["test/support/real-parts.ts"],
};

/** Comparing with a StageX checkout needs one: STAGEX_TREE says where. */
const oracle = process.env.STAGEX_TREE ? ["test/oracle/**/*.test.ts"] : [];

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts", ...oracle], testTimeout: 30_000 } },
      {
        test: {
          name: "attacks",
          include: ["test/attacks/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          globalSetup: ["test/support/real-parts.ts"],
        },
      },
      { test: { name: "build", include: ["test/build/**/*.test.ts"], ...realParts } },
      { test: { name: "lifecycle", include: ["test/lifecycle/**/*.test.ts"], ...realParts } },
      {
        test: {
          name: "clients",
          include: ["test/clients/**/*.test.ts"],
          ...realParts,
          globalSetup: [...realParts.globalSetup, "test/support/debian-clients.ts"],
        },
      },
    ],
  },
});
