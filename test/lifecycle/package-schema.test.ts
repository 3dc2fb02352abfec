import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../lib/paths.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

describeReal("the provider's schema", () => {
  test.each(["", "pulumi-resource-stagex"])(
    "is taken by the engine, asked for providers/stagex/%s",
    (file) => {
      const provider = join(projectRoot, "providers/stagex", file);
      const text = execFileSync(realTool("pulumi"), ["package", "get-schema", provider], {
        encoding: "utf8",
        env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" },
      });
      const schema = JSON.parse(text);
      expect(schema.name).toBe("stagex");
      expect(Object.keys(schema.resources)).toContain("stagex:index:Package");
    },
  );
});
