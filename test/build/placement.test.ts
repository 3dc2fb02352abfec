import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { NoBuilderError } from "../../buildkit/scheduler/scheduler.ts";
import { parseConfig } from "../../config/schema.ts";
import { inputsOfPlan } from "../../distro/plan/image-inputs.ts";
import { Context } from "../../pipeline/context/context.ts";
import type { Operation } from "../../pipeline/operation.ts";
import { buildImage } from "../../pipeline/package/build-image.ts";
import { type PackageOutputs, packageInputs, withInputKey } from "../../pipeline/package/inputs.ts";
import { BuildWorkspace } from "../support/builders/build-workspace.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

const mebibyte = 2 ** 20;

/** The package.toml of a package that has the probe among its files. */
const packageToml = (name: string, platforms = "") =>
  `[package]\nname = "${name}"\nversion = "1.0"\ndescription = "x"\nlicense = "MIT"\n${platforms}`;

describeReal("builders that differ", () => {
  let bench: BuildWorkspace;
  let tree: string;
  /** Each with its address: one with little memory for a step, one with all, and one that says that it is an arm64 machine. */
  let builders: Record<"small" | "large" | "arm", { name: string; address: string }>;
  const workshops: Context[] = [];

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    tree = join(bench.folder, "tree");
    await put("bootstrap/seed", 'platforms = ["linux/386"]\n', "FROM scratch\nADD probe /probe\n");
    await put(
      "core/go",
      "",
      'FROM --platform=linux/386 stagex/bootstrap-seed AS build\nRUN ["/probe", "write", "/go", "go"]\nFROM scratch\nCOPY --from=build /go /\n',
    );
    await put(
      "core/large",
      'platforms = ["linux/amd64"]\n',
      'FROM scratch\nADD probe /probe\nRUN ["/probe", "strain", "128"]\n',
    );
    const small = await script("runc", `export STAGEX_RUN_MEMORY=${64 * mebibyte}`, '"$@"');
    const arm = await script("buildkitd", "", '"$@" --oci-worker-platform linux/arm64');
    builders = {
      small: { name: "small", address: (await bench.daemon("small", { runc: small })).endpoint.address },
      large: { name: "large", address: (await bench.daemon("large")).endpoint.address },
      arm: { name: "arm", address: (await bench.daemon("arm", { buildkitd: arm })).endpoint.address },
    };
  });

  afterAll(async () => {
    for (const context of workshops) await context.close();
    await bench?.close();
  });

  async function put(name: string, platforms: string, containerfile: string): Promise<void> {
    const folder = join(tree, "packages", name);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "package.toml"), packageToml(name.split("/")[1] ?? "", platforms));
    await writeFile(join(folder, "Containerfile"), containerfile);
    await writeFile(join(folder, "probe"), bench.probe, { mode: 0o755 });
  }

  /** A program that runs the real one under other circumstances. */
  async function script(tool: "buildkitd" | "runc", before: string, words: string): Promise<string> {
    const folder = join(bench.folder, `changed-${tool}`);
    await mkdir(folder);
    const path = join(folder, tool);
    await writeFile(path, `#!/bin/sh\n${before}\nexec ${realTool(tool)} ${words}\n`);
    await chmod(path, 0o755);
    return path;
  }

  /** What builds the tree for arm64 on these builders, and the warnings that it gives. */
  function open(name: string, members: readonly object[]) {
    const config = { tree, platforms: '["linux/arm64"]', builders: JSON.stringify(members) };
    const project = join(bench.folder, name);
    const context = new Context(parseConfig(config), project, AbortSignal.timeout(120_000));
    workshops.push(context);
    for (const builder of members) context.fleet.register({ slots: 2, ...builder } as never);
    const warnings: string[] = [];
    const work: Operation = {
      ...({ signal: AbortSignal.timeout(120_000), progress: () => {} } as unknown as Operation),
      report: (_, message) => warnings.push(message),
    };
    const made = async (image: string, dependencies: Record<string, PackageOutputs["reference"]> = {}) => {
      const plan = (await context.tree()).images.get(image);
      if (!plan) throw new Error(`no ${image}`);
      const inputs = packageInputs.parse({ ...inputsOfPlan(plan), dependencies });
      return await buildImage(context, withInputKey(inputs), work);
    };
    const records = async () => {
      const { records: all } = await context.built.readAll();
      return Object.fromEntries(all.map((record) => [record.image, record]));
    };
    return { context, made, records, warnings };
  }

  test("build an image whose steps run i386 programs on x86, and never on arm64", async () => {
    const { made, records, context } = open("mixed", [builders.arm, builders.large]);
    const seed = await made("bootstrap-seed");
    await made("core-go", { "bootstrap-seed": seed.reference });
    const { "core-go": go } = await records();
    expect(go?.digests.platforms).toHaveProperty(["linux/arm64"]);
    expect(
      (await context.fleet.findBuilderIds("large", {} as Operation)).includes(go?.builder.id ?? ""),
    ).toBe(true);
  });

  test("build images of files alone on arm64, and refuse others by name", async () => {
    const { made, records } = open("arm", [builders.arm]);
    const seed = await made("bootstrap-seed");
    const refused = made("core-go", { "bootstrap-seed": seed.reference });
    await expect(refused).rejects.toThrow(NoBuilderError);
    await expect(refused).rejects.toThrow("it needs linux/386; there is arm (linux/arm64");
    expect(Object.keys(await records())).toEqual(["bootstrap-seed"]);
  });

  test("repeat a build that the kernel killed for memory where there is most, and record its memory", async () => {
    const { made, records, warnings, context } = open("memory", [
      { ...builders.small, memory: 2 ** 31 },
      { ...builders.large, memory: 2 ** 32 },
    ]);
    await made("core-large");
    expect(warnings.join("\n")).toMatch(
      /core-large: the kernel killed a step on small for want of memory; it is built again by itself on large/,
    );
    const { "core-large": large } = await records();
    expect(
      (await context.fleet.findBuilderIds("large", {} as Operation)).includes(large?.builder.id ?? ""),
    ).toBe(true);
    expect(large?.memory).toBeGreaterThan(128 * mebibyte);
    expect(large?.memory).toBeLessThan(192 * mebibyte);
  });

  test("fail a build that is killed while it is alone", async () => {
    const { made, records } = open("small", [builders.small]);
    await expect(made("core-large")).rejects.toThrow(
      /exit code 2: it was killed, as the kernel does.*"What a step may use"/,
    );
    expect(await records()).toEqual({});
  });
});
