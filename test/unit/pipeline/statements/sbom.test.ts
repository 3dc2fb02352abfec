import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { Ledger, type LedgerRecord } from "../../../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../../../distro/plan/predict-digests.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { type Digest, digestOf } from "../../../../oci/digest.ts";
import { findFolderCommit, gatherBuildEvidence } from "../../../../pipeline/statements/build-evidence.ts";
import { type Sbom, sbomOf } from "../../../../pipeline/statements/sbom.ts";
import { FetchRecordStore } from "../../../../sources/recording/fetch-record-store.ts";
import { facts } from "../../../support/builders/builder-facts.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { git, packageFiles, trackedTree, writeInto } from "../../../support/builders/written-tree.ts";

/** The rules of SPDX 2.3 that its JSON schema has, and those of its text that the schema leaves out; by section. */
const id = z.string().regex(/^SPDXRef-[A-Za-z0-9.-]+$/); // 6.3, 7.2
const spdxPackage = z.strictObject({
  SPDXID: id, // 7.2
  name: z.string().min(1), // 7.1
  versionInfo: z.string().min(1).optional(), // 7.3
  packageFileName: z.string().min(1).optional(), // 7.4
  downloadLocation: z.union([z.url(), z.enum(["NONE", "NOASSERTION"])]), // 7.7
  filesAnalyzed: z.literal(false), // 7.8: without it, files and a verification code would have to follow
  checksums: z.array(z.strictObject({ algorithm: z.literal("SHA256"), checksumValue: z.hash("sha256") })), // 7.10
  homepage: z.union([z.url(), z.enum(["NONE", "NOASSERTION"])]).optional(), // 7.11
  sourceInfo: z.string().optional(), // 7.12
  licenseConcluded: z.literal("NOASSERTION"), // 7.13
  licenseDeclared: z.string().min(1), // 7.15
  licenseComments: z.string().optional(), // 7.16
  copyrightText: z.literal("NOASSERTION"), // 7.17
  description: z.string().optional(), // 7.19
  externalRefs: z // 7.21
    .array(
      z.strictObject({
        referenceCategory: z.literal("PACKAGE-MANAGER"),
        referenceType: z.literal("purl"),
        referenceLocator: z.string().regex(/^pkg:oci\/[a-z0-9._-]+@sha256%3A[0-9a-f]{64}$/),
      }),
    )
    .optional(),
  primaryPackagePurpose: z.enum(["CONTAINER", "SOURCE"]), // 7.24
});
const document = z.strictObject({
  spdxVersion: z.literal("SPDX-2.3"), // 6.1
  dataLicense: z.literal("CC0-1.0"), // 6.2
  SPDXID: z.literal("SPDXRef-DOCUMENT"), // 6.3
  name: z.string().min(1), // 6.4
  documentNamespace: z.url().refine((uri) => !uri.includes("#")), // 6.5
  creationInfo: z.strictObject({
    creators: z.array(z.string().regex(/^(Person|Organization|Tool): ./)).min(1), // 6.8
    created: z.iso.datetime(), // 6.9
  }),
  hasExtractedLicensingInfos: z // 10
    .array(
      z.strictObject({
        licenseId: z.string().regex(/^LicenseRef-[A-Za-z0-9.-]+$/),
        extractedText: z.string().min(1),
        name: z.string(),
      }),
    )
    .optional(),
  packages: z.array(spdxPackage).min(1),
  relationships: z.array(
    z.strictObject({
      spdxElementId: id,
      relationshipType: z.enum(["DESCRIBES", "GENERATED_FROM", "BUILD_DEPENDENCY_OF"]), // 11.1
      relatedSpdxElement: id,
    }),
  ),
});

type Written = Parameters<typeof packageFiles>[1];

/** A tree with core-tool, built from core-seed; both are in the ledger. */
async function evidence(tool: Written = {}, platforms = ["linux/amd64"]) {
  const root = trackedTree({
    ...packageFiles("core/seed", { toml: 'version = "0.1"\n' }),
    ...packageFiles("core/tool", {
      containerfile: "FROM scratch\nCOPY --from=stagex/core-seed . /\n",
      ...tool,
    }),
  });
  const tree = await readTree(root, { platforms });
  const ledger = new Ledger(join(await scratchFolder(), "ledger"));
  const references: Record<string, Digest> = {};
  for (const plan of tree.images.values()) {
    const dependencies = Object.fromEntries(
      plan.dependencies.map((name) => [name, references[name] ?? digestOf("")] as const),
    );
    const index = digestOf(plan.name);
    const manifests = platforms.map((platform) => [platform, digestOf(plan.name + platform)] as const);
    const record: LedgerRecord = {
      inputKey: inputKeyOfPlan(plan, dependencies),
      image: plan.name,
      digests: { index, platforms: Object.fromEntries(manifests) },
      builder: { id: "builder-1", facts },
      seconds: 2,
      outcome: "built",
      finished: "2026-03-01T10:00:00.000Z",
    };
    await ledger.append(record);
    references[plan.name] = platforms.length > 1 ? index : (manifests[0]?.[1] ?? index);
  }
  return { root, tree, ledger, of: () => gatherBuildEvidence(tree, { ledger, built: ledger }, "core-tool") };
}

const sha256 = "5eed".repeat(16);
const withSource = {
  toml: [
    'version = "1.2"\nlicense = "MIT"\nwebsite = "https://tool.example"\n',
    `[sources.tool]\nhash = "${sha256}"\nmirrors = ["https://a.example/tool-{version}.tar", "https://b.example/tool-{version}.tar"]\n`,
  ].join(""),
};

function related(sbom: Sbom, type: string): string[][] {
  return sbom.relationships
    .filter(({ relationshipType }) => relationshipType === type)
    .map(({ spdxElementId, relatedSpdxElement }) => [spdxElementId, relatedSpdxElement]);
}

test("describes an image, its sources and its dependencies in SPDX 2.3", async () => {
  const sbom = sbomOf(await (await evidence(withSource)).of());
  expect(document.safeParse(sbom).error).toBeUndefined();
  expect(sbom.packages.map(({ SPDXID }) => SPDXID)).toEqual([
    "SPDXRef-Image-linux-amd64",
    "SPDXRef-Source-1-tool-1.2.tar",
    "SPDXRef-Dependency-core-seed",
  ]);
  const [image, source, dependency] = sbom.packages;
  expect(image).toMatchObject({
    versionInfo: "1.2",
    licenseDeclared: "MIT",
    homepage: "https://tool.example",
  });
  expect(source).toMatchObject({
    downloadLocation: "https://a.example/tool-1.2.tar",
    checksums: [{ algorithm: "SHA256", checksumValue: sha256 }],
  });
  expect(dependency).toMatchObject({ versionInfo: "0.1" });
  expect(related(sbom, "DESCRIBES")).toEqual([["SPDXRef-DOCUMENT", "SPDXRef-Image-linux-amd64"]]);
  expect(related(sbom, "GENERATED_FROM")).toEqual([
    ["SPDXRef-Image-linux-amd64", "SPDXRef-Source-1-tool-1.2.tar"],
  ]);
  expect(related(sbom, "BUILD_DEPENDENCY_OF")).toEqual([
    ["SPDXRef-Dependency-core-seed", "SPDXRef-Image-linux-amd64"],
  ]);
});

test("gives the same document for the same image, and another name for another", async () => {
  const write = async (tool: Written) => JSON.stringify(sbomOf(await (await evidence(tool)).of()));
  expect(await write(withSource)).toBe(await write(withSource));
  const other = { toml: withSource.toml.replace(sha256, "0bad".repeat(16)) };
  const namespace = (text: string) => (JSON.parse(text) as Sbom).documentNamespace;
  expect(namespace(await write(withSource))).not.toBe(namespace(await write(other)));
});

test("makes one package for each platform, with its relationships", async () => {
  const sbom = sbomOf(await (await evidence(withSource, ["linux/amd64", "linux/arm64"])).of());
  expect(document.safeParse(sbom).error).toBeUndefined();
  const images = ["SPDXRef-Image-linux-amd64", "SPDXRef-Image-linux-arm64"];
  expect(related(sbom, "DESCRIBES").map(([, image]) => image)).toEqual(images);
  expect(related(sbom, "BUILD_DEPENDENCY_OF").map(([, image]) => image)).toEqual(images);
});

test.each([
  ["no license", "", { licenseDeclared: "NOASSERTION" }],
  ["an expression", 'license = "Apache-2.0 OR MIT"\n', { licenseDeclared: "Apache-2.0 OR MIT" }],
  [
    "what SPDX does not have",
    'license = "PHP-3.0.1"\n',
    { licenseDeclared: "NOASSERTION", licenseComments: "package.toml says: PHP-3.0.1" },
  ],
  [
    "so long that its terms might overflow the stack",
    `license = "${"MIT OR ".repeat(1000)}MIT"\n`,
    { licenseDeclared: "NOASSERTION", licenseComments: expect.stringMatching(/^package.toml says: MIT OR/) },
  ],
  ["another document's", 'license = "DocumentRef-x:LicenseRef-y"\n', { licenseDeclared: "NOASSERTION" }],
])("a license: %s", async (_name, license, expected) => {
  const sbom = sbomOf(await (await evidence({ toml: `version = "1"\n${license}` })).of());
  expect(document.safeParse(sbom).error).toBeUndefined();
  expect(sbom.packages[0]).toMatchObject(expected);
  expect(sbom.hasExtractedLicensingInfos).toBeUndefined();
});

test("lists a license that SPDX does not know", async () => {
  const toml = 'version = "1"\nlicense = "MIT AND LicenseRef-Own"\n';
  const sbom = sbomOf(await (await evidence({ toml })).of());
  expect(document.safeParse(sbom).error).toBeUndefined();
  expect(sbom.hasExtractedLicensingInfos?.map(({ licenseId }) => licenseId)).toEqual(["LicenseRef-Own"]);
});

test("fails for an image that the ledger or the tree does not know", async () => {
  const { tree, ledger } = await evidence();
  const empty = new Ledger(join(await scratchFolder(), "ledger"));
  await expect(gatherBuildEvidence(tree, { ledger: empty, built: empty }, "core-seed")).rejects.toThrow(
    "the ledger does not know the digest of core-seed",
  );
  await expect(gatherBuildEvidence(tree, { ledger: empty, built: empty }, "core-tool")).rejects.toThrow(
    "core-seed, which core-tool is built from",
  );
  await expect(gatherBuildEvidence(tree, { ledger, built: ledger }, "core-none")).rejects.toThrow(
    "no image core-none",
  );
  // Known, but not who built it.
  expect((await gatherBuildEvidence(tree, { ledger, built: empty }, "core-tool")).records).toEqual([]);
});

test("uses the new fetch record of an image that was rebuilt after its record was deleted", async () => {
  const { ledger, of } = await evidence();
  const { inputKey, records } = await of();
  const [built] = records;
  if (!built) throw new Error("not built");
  const kept = new FetchRecordStore(ledger.root);
  const answer = {
    method: "GET",
    url: "https://a.test/",
    status: 404,
    headers: {},
    sha256: null,
    size: null,
  } as const;
  const gone = await kept.write({ inputKey, image: "core-tool", answers: [answer] });
  await ledger.append({ ...built, builder: { id: "builder-2", facts }, fetches: gone });
  await rm(join(kept.root, inputKey.slice(0, 2), inputKey, `${gone}.json`));
  await expect(of()).rejects.toThrow(`${gone}.json can't be used`);
  const present = await kept.write({ inputKey, image: "core-tool", answers: [] });
  const again = { ...built, builder: { id: "builder-2", facts }, fetches: present };
  const path = await ledger.append(again);
  expect(await ledger.append(again)).toBe(path);
  expect((await of()).records).toEqual([built, again]);
  expect((await ledger.readAll()).problems).toEqual([]);
});

test("finds the commit of a folder's content, and none once it has changed", async () => {
  const { root } = await evidence();
  git(root, "-c", "user.name=a", "-c", "user.email=a@example", "commit", "-q", "-m", "first");
  const first = git(root, "rev-parse", "HEAD").toString().trim();
  writeInto(root, { "packages/core/seed/more": "more" });
  git(root, "add", ".");
  git(root, "-c", "user.name=a", "-c", "user.email=a@example", "commit", "-q", "-m", "second");
  expect(await findFolderCommit(root, "packages/core/tool")).toEqual({ commit: first, path: "" });
  writeInto(root, { "packages/core/tool/Containerfile": "FROM scratch\n" });
  expect(await findFolderCommit(root, "packages/core/tool")).toBeNull();
});
