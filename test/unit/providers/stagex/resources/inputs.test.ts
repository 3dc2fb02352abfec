import { expect, test } from "vitest";
import { toCheckFailures } from "../../../../../config/check-failures.ts";
import { packageInputs, packagePreview } from "../../../../../pipeline/package/inputs.ts";
import { unknown } from "../../../../../pipeline/unknown-schema.ts";

const digest = `sha256:${"0".repeat(64)}`;
const inputs = {
  image: "core-cat",
  version: "1.0",
  recipe: "packages/core/cat/Containerfile",
  containerfile: digest,
  platforms: ["linux/amd64"],
  buildArgs: { VERSION: "1.0" },
  context: digest,
  sources: { "cat-1.0.tar": digest },
  dependencies: { "bootstrap-hex0": digest },
};

test("accepts complete inputs", () => {
  expect(packageInputs.parse(inputs)).toEqual(inputs);
});

test.each([
  [{ recipe: "../../etc/passwd" }, "recipe", /inside the tree/],
  [{ recipe: "/etc/passwd" }, "recipe", /inside the tree/],
  [{ recipe: "packages//Containerfile" }, "recipe", /inside the tree/],
  [{ context: "sha256:../.." }, "context", /not a digest/],
  [{ containerfile: `sha256:${"A".repeat(64)}` }, "containerfile", /not a digest/],
  [{ platforms: [] }, "platforms", /./],
  [{ platforms: ["linux"] }, "platforms[0]", /not a platform/],
  [{ sources: { "../x": digest } }, 'sources["../x"]', /plain file name/],
  [{ dependencies: { "core-cat": "latest" } }, 'dependencies["core-cat"]', /not a digest/],
  [{ image: "cat" }, "image", /not an image name/],
  [{ colour: "red" }, "colour", /no such property/],
])("refuses %o at %s", (change, property, reason) => {
  for (const schema of [packageInputs, packagePreview]) {
    const result = schema.safeParse({ ...inputs, ...change });
    const failures = result.error ? toCheckFailures(result.error) : [];
    expect(failures.map((failure) => failure.property)).toContain(property);
    expect(failures.find((failure) => failure.property === property)?.reason).toMatch(reason);
  }
});

test("accepts unknown inputs in a preview only", () => {
  for (const change of [
    { dependencies: unknown },
    { dependencies: { "core-cat": unknown } },
    { version: unknown },
  ]) {
    expect(packagePreview.safeParse({ ...inputs, ...change }).success).toBe(true);
    expect(packageInputs.safeParse({ ...inputs, ...change }).success).toBe(false);
  }
});
