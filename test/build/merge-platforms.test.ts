import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { probeCpu } from "../../buildkit/client/cpu-probe.ts";
import { parseEndpoint } from "../../buildkit/client/endpoint.ts";
import { readLayout } from "../../oci/layout.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { mergePlatforms } from "../../oci/merge-platforms.ts";
import { findExecutable } from "../../tools/executable.ts";
import { BuildWorkspace, type Recipe } from "../support/builders/build-workspace.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

describeReal("an image for two platforms that two builders built", () => {
  let bench: BuildWorkspace;
  const platforms = ["linux/amd64", "linux/386"];

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
  });

  afterAll(async () => {
    await bench?.close();
  });

  /** Its files differ by platform; amd64 machines run the probe for both. */
  const recipe = (wanted: readonly string[]): Recipe => ({
    containerfile: `FROM scratch AS build
ARG TARGETARCH
COPY probe /
RUN ["/probe", "write", "/architecture", "of its own"]
FROM scratch
ARG TARGETARCH
COPY --from=build /architecture /etc/\${TARGETARCH}
`,
    files: { probe: bench.probe },
    platforms: wanted,
  });

  test.runIf(process.arch === "x64")("is the same, byte for byte, as one builder's", async () => {
    const { endpoint } = await bench.daemon();
    const { endpoint: other } = await bench.daemon("other");
    const [amd64, i386] = [
      await bench.build(endpoint, recipe(["linux/amd64"])),
      await bench.build(other, recipe(["linux/386"])),
    ];
    const whole = join(bench.folder, "whole");
    await mergePlatforms([amd64.layout, i386.layout], whole, "core-test", "1.0");
    const single = await bench.build(
      await bench.daemon("third").then(({ endpoint }) => endpoint),
      recipe(platforms),
    );
    expect(await readLayout(whole)).toEqual(await readLayout(single.layout));
    const text = async (folder: string) => JSON.parse(await readFile(join(folder, "index.json"), "utf8"));
    expect(await text(whole)).toEqual(await text(single.layout));
    const turned = join(bench.folder, "turned");
    await mergePlatforms([i386.layout, amd64.layout], turned, "core-test", "1.0");
    expect((await readLayout(turned)).index).not.toBe(single.index);
  });

  test("refuses two parts for one platform", async () => {
    const { endpoint } = await bench.daemon();
    const { layout } = await bench.build(endpoint, recipe(["linux/amd64"]));
    const twice = mergePlatforms([layout, layout], join(bench.folder, "twice"), "core-test", "1.0");
    await expect(twice).rejects.toThrow(LayoutError);
    await expect(twice).rejects.toThrow("two manifests are for linux/amd64");
  });
});

/** Debian's emulator: `apt-get install qemu-user-static`. By hand only, for CI has to skip nothing. */
const qemu = process.env.CI ? undefined : await findExecutable("qemu-aarch64-static");

if (!process.env.CI) {
  describeReal("arm64 on another machine", () => {
    test.runIf(qemu && process.arch === "x64")(
      "an emulator lets a daemon run it, and the program that shows a builder's CPU runs",
      async () => {
        // BuildKit takes an emulator of this name from its PATH where the kernel's binfmt_misc has none (archutil, exec_binfmt.go).
        await using daemon = await TlsDaemon.start({ programs: { "buildkit-qemu-aarch64": qemu ?? "" } });
        const endpoint = parseEndpoint({
          address: daemon.address,
          buildctl: realTool("buildctl"),
          tls: await daemon.client(),
        });
        const { release } = await probeCpu(endpoint, "linux/arm64", join(daemon.folder, "scratch"));
        expect(release).toBe((await readFile("/proc/sys/kernel/osrelease", "utf8")).trim());
      },
    );
  });
}
