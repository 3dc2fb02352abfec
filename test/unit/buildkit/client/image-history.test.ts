import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { removeFromHistory } from "../../../../buildkit/client/image-history.ts";
import { readRegularFile } from "../../../../lib/fs/regular-file.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { readLayout } from "../../../../oci/layout.ts";
import { writeLayout } from "../../../support/builders/image-layout.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const trace = "/.trace/bin/run ";
/** Makes a step with characters that Go escapes in JSON, and JavaScript does not. */
const step = (before: string) => ({ created_by: `RUN ${before}/bin/sh -c "a && b" # \\ ] , : { buildkit` });

async function layoutOf(history: unknown, labels: Record<string, string> = {}) {
  const folder = await scratchFolder();
  const hello = { layers: [[{ name: "hello", content: "x" }]], env: [`NOTE=${trace}`] };
  return await writeLayout(folder, {
    platforms: { "linux/amd64": hello, "linux/arm64": hello },
    change: { config: (config) => ({ ...config, history, created_by: trace, Labels: labels }) },
  });
}

async function configurations(folder: string): Promise<string[]> {
  const { manifests } = await readLayout(folder, {});
  return await Promise.all(
    manifests.map(async ({ digest }) => {
      const { config } = JSON.parse((await blob(folder, digest)).toString());
      return (await blob(folder, config.digest)).toString();
    }),
  );
}

const blob = (folder: string, digest: string) =>
  readRegularFile(join(folder, "blobs/sha256", digest.slice("sha256:".length)), 1e6);

describe("removes a text", () => {
  test("from the history's commands, and from nothing else that contains it", async () => {
    const labels = { [trace]: trace, history: `[{"created_by":"${trace}"}]`, created_by: trace };
    const rest = { comment: trace, empty_layer: true, nested: [{ created_by: trace }] };
    const run = (text: string) => [{ ...rest, ...step(text) }, step(""), { ...step(text), ...rest }];
    const traced = await layoutOf(run(trace), labels);
    const plain = await layoutOf(run(""), labels);
    await removeFromHistory(traced.folder, trace);
    expect(await configurations(traced.folder)).toEqual(await configurations(plain.folder));
    expect((await readLayout(traced.folder, {})).index).toBe(plain.index);
  });

  test("and keeps the bytes where no command contains it", async () => {
    const { folder, index } = await layoutOf([step("")], { note: trace });
    await removeFromHistory(folder, trace);
    expect((await readLayout(folder, {})).index).toBe(index);
  });
});

describe("rejects a layout of a lying builder", () => {
  const listing = (digest: string, times = 1) =>
    JSON.stringify({ manifests: Array.from({ length: times }, () => ({ digest, size: 1 })) });

  test("with three nested indexes", async () => {
    const { folder, index } = await layoutOf([step(trace)]);
    const nested = listing(index);
    await writeFile(join(folder, "blobs/sha256", hexOf(digestOf(nested))), nested);
    await writeFile(join(folder, "index.json"), listing(digestOf(nested)));
    await expect(removeFromHistory(folder, trace)).rejects.toThrow("more than 2 nested indexes");
  });

  test("with too many documents", async () => {
    const { folder, manifests } = await layoutOf([step("")]);
    await writeFile(join(folder, "index.json"), listing(manifests[0] ?? "", 300));
    await expect(removeFromHistory(folder, trace)).rejects.toThrow("more than 200 documents");
  });
});
