import { describe, expect, test } from "vitest";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { predict, readRelease, releaseNames } from "../../../oracle/prediction.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { packageFiles } from "../../../support/builders/written-tree.ts";

/** Formats `digests/core.txt` of images with these contents. */
function published(texts: Readonly<Record<string, string>>): Record<string, string> {
  const lines = Object.entries(texts).map(([name, text]) => `${hexOf(digestOf(text))} core-${name}\n`);
  return { "digests/core.txt": lines.join("") };
}

/**
 * core-seed < core-tool < core-app; core-lone has no dependencies. Each release publishes the
 * digests of one change.
 */
function someReleases(...releases: readonly Readonly<Record<string, string | null>>[]): TreeHistory {
  const history = new TreeHistory();
  history.write({
    ...packageFiles("core/seed"),
    ...packageFiles("core/tool", { containerfile: "FROM stagex/core-seed\n" }),
    ...packageFiles("core/app", { containerfile: "FROM stagex/core-tool\n" }),
    ...packageFiles("core/lone"),
  });
  for (const [index, files] of releases.entries()) {
    history.commit(files);
    history.git("tag", `2025.0${index + 1}.0`);
  }
  return history;
}

async function steps({ root }: TreeHistory) {
  const releases = await Promise.all(releaseNames(root).map((name) => readRelease(root, name)));
  return Promise.all(releases.slice(1).map((newer, index) => predict(releases[index] ?? newer, newer)));
}

const comment = { "packages/core/seed/Containerfile": "FROM scratch\n# why\n" };
const first = { seed: "a", tool: "a", app: "a", lone: "a" };

describe("a history of releases made here", () => {
  test("counts a change that reaches all dependents, and one that is cut off at once", async () => {
    const history = someReleases(
      published(first),
      { ...comment, ...published({ ...first, seed: "b", tool: "b" }) },
      { "packages/core/tool/Containerfile": "FROM stagex/core-seed\n# why\n" },
    );
    const none = {
      missed: [],
      wrong: [],
      uncertain: 0,
      contradictions: 0,
      translated: 0,
      images: 4,
      inBoth: 4,
    };
    expect(await steps(history)).toEqual([
      { ...none, own: 1, called: 3, changed: 2, exact: 3 },
      { ...none, own: 1, called: 2, changed: 0, exact: 1 },
    ]);
  });

  test("leaves added and removed images out of the comparison", async () => {
    const { lone: _, ...kept } = first;
    const history = someReleases(published(first), {
      ...packageFiles("core/fresh"),
      "packages/core/lone/package.toml": null,
      "packages/core/lone/Containerfile": null,
      ...published({ ...kept, fresh: "a" }),
    });
    expect(await steps(history)).toMatchObject([{ images: 4, inBoth: 3, changed: 0, called: 0 }]);
  });

  test("reports a digest that changed without a cause as missed, and as a contradiction", async () => {
    const history = someReleases(published(first), published({ ...first, lone: "b" }));
    expect(await steps(history)).toMatchObject([
      { missed: ["core-lone"], contradictions: 1, changed: 1, called: 0 },
    ]);
  });

  test("compares an older release's digests of indexes by the manifests in them", async () => {
    const indexAround = (manifest: string) =>
      JSON.stringify(
        {
          schemaVersion: 2,
          mediaType: "application/vnd.oci.image.index.v1+json",
          manifests: [
            {
              mediaType: "application/vnd.oci.image.manifest.v1+json",
              digest: digestOf(manifest),
              size: 1234,
              platform: { architecture: "amd64", os: "linux" },
            },
          ],
        },
        null,
        2,
      );
    const older = Object.fromEntries(Object.entries(first).map(([name, text]) => [name, indexAround(text)]));
    const history = someReleases(published(older), { ...comment, ...published({ ...first, seed: "b" }) });
    expect(await steps(history)).toMatchObject([
      { translated: 3, contradictions: 0, changed: 1, missed: [], wrong: [], called: 3, exact: 2 },
    ]);
  });
});
