import parseLicense from "spdx-expression-parse";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { type Digest, digestOf, hexOf } from "../../oci/digest.ts";
import { type BuildEvidence, fetchedFiles } from "./build-evidence.ts";

/**
 * An SPDX 2.3 document as JSON (spdx.github.io/spdx-spec/v2.3). Sections below are those of the
 * specification.
 */
export type Sbom = {
  readonly spdxVersion: "SPDX-2.3";
  readonly dataLicense: "CC0-1.0";
  readonly SPDXID: "SPDXRef-DOCUMENT";
  readonly name: string;
  readonly documentNamespace: string;
  readonly creationInfo: { readonly created: string; readonly creators: readonly string[] };
  readonly packages: readonly SbomPackage[];
  readonly relationships: readonly SbomRelationship[];
  readonly hasExtractedLicensingInfos?: readonly ExtractedLicense[];
};

/** Section 7. */
export type SbomPackage = {
  readonly SPDXID: string;
  readonly name: string;
  readonly versionInfo?: string;
  readonly packageFileName?: string;
  readonly downloadLocation: string;
  readonly filesAnalyzed: false;
  readonly checksums: readonly { readonly algorithm: "SHA256"; readonly checksumValue: string }[];
  readonly homepage?: string;
  readonly sourceInfo?: string;
  readonly licenseConcluded: "NOASSERTION";
  readonly licenseDeclared: string;
  readonly licenseComments?: string;
  readonly copyrightText: "NOASSERTION";
  readonly description?: string;
  readonly externalRefs?: readonly {
    readonly referenceCategory: "PACKAGE-MANAGER";
    readonly referenceType: "purl";
    readonly referenceLocator: string;
  }[];
  readonly primaryPackagePurpose: "CONTAINER" | "SOURCE";
};

/** Section 11. */
export type SbomRelationship = {
  readonly spdxElementId: string;
  readonly relationshipType: "DESCRIBES" | "GENERATED_FROM" | "BUILD_DEPENDENCY_OF";
  readonly relatedSpdxElement: string;
};

/** Section 10. */
type ExtractedLicense = {
  readonly licenseId: string;
  readonly name: string;
  readonly extractedText: string;
};

/**
 * The predicate type of an in-toto statement around such a document (in-toto/attestation,
 * spec/predicates/spdx.md).
 */
export const sbomPredicateType = "https://spdx.dev/Document/v2.3";

/**
 * The date of every document is that of every image, SOURCE_DATE_EPOCH=1: equal inputs give equal
 * bytes.
 */
const created = "1970-01-01T00:00:01Z";

const unknown = {
  licenseConcluded: "NOASSERTION",
  copyrightText: "NOASSERTION",
  filesAnalyzed: false,
} as const;

/**
 * Makes the SBOM of an image: itself, as one package a platform, its sources, and the images that
 * it was built with. The same evidence gives the same document, at any time and on any machine.
 */
export function sbomOf(evidence: BuildEvidence): Sbom {
  const { plan, digests } = evidence;
  const images = Object.entries(digests.platforms).map(([platform, digest]) =>
    imagePackage(evidence, platform, digest),
  );
  const sources = plan.sources.map((source, number) => sourcePackage(evidence, source, number));
  // If builds fetched different files, the first record is used: everyone with these records gets the same document.
  const [fetched = []] = evidence.fetches.values();
  sources.push(...fetchedFiles(fetched).map((file, number) => fetchedPackage(file, number)));
  const dependencies = Object.entries(evidence.dependencies).map(([name, digest]) =>
    dependencyPackage(name, evidence.versions[name], digest),
  );
  const relate = (from: string, relationshipType: SbomRelationship["relationshipType"], to: string) => ({
    spdxElementId: from,
    relationshipType,
    relatedSpdxElement: to,
  });
  const relationships = images.flatMap((image) => [
    relate("SPDXRef-DOCUMENT", "DESCRIBES", image.SPDXID),
    ...sources.map((source) => relate(image.SPDXID, "GENERATED_FROM", source.SPDXID)),
    ...dependencies.map((dependency) => relate(dependency.SPDXID, "BUILD_DEPENDENCY_OF", image.SPDXID)),
  ]);
  const extracted = extractedLicenses(images);
  const content = {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `${plan.name}-${plan.version}`,
    creationInfo: { created, creators: ["Tool: stagex-pulumi"] },
    packages: [...images, ...sources, ...dependencies],
    relationships,
    ...(extracted.length > 0 ? { hasExtractedLicensingInfos: extracted } : {}),
  } as const;
  // Section 6.5 asks for a unique name: a digest of the content.
  const unique = hexOf(digestOf(JSON.stringify(content)));
  return {
    ...content,
    documentNamespace: `https://spdx.org/spdxdocs/stagex-${plan.name}-${plan.version}-${unique}`,
  };
}

function imagePackage(
  { plan, toml, inputKey }: BuildEvidence,
  platform: string,
  digest: Digest,
): SbomPackage {
  return {
    ...unknown,
    ...declaredLicense(toml.license),
    SPDXID: idOf("Image", platform),
    name: plan.name,
    versionInfo: plan.version,
    downloadLocation: "NOASSERTION",
    checksums: checksums(hexOf(digest)),
    ...(isAddress(toml.website) ? { homepage: toml.website } : {}),
    sourceInfo: `built for ${platform} from ${plan.recipe} (sha256 ${plan.containerfile}); all that went in has the key ${inputKey}`,
    ...(toml.description === "" ? {} : { description: toml.description }),
    externalRefs: purl(plan.name, digest),
    primaryPackagePurpose: "CONTAINER",
  };
}

function sourcePackage(
  { plan, toml }: BuildEvidence,
  { name, file, sha256, mirrors }: BuildPlan["sources"][number],
  number: number,
): SbomPackage {
  const version = toml.sources.find((section) => section.name === name)?.version ?? toml.version;
  return {
    ...unknown,
    licenseDeclared: "NOASSERTION",
    SPDXID: idOf("Source", String(number + 1), file),
    name,
    ...(version === null ? {} : { versionInfo: version }),
    packageFileName: file,
    downloadLocation: mirrors[0] ?? "NOASSERTION",
    checksums: checksums(sha256),
    sourceInfo: `fetch/${plan.stage}/${plan.origin}/${file}`,
    primaryPackagePurpose: "SOURCE",
  };
}

/** Describes a file that a RUN of the recipe fetched, with the last part of its URL as name. */
function fetchedPackage({ url, sha256 }: { url: string; sha256: string }, number: number): SbomPackage {
  const name = URL.parse(url)?.pathname.split("/").at(-1) || url;
  return {
    ...unknown,
    licenseDeclared: "NOASSERTION",
    SPDXID: idOf("Fetched", String(number + 1), name),
    name,
    downloadLocation: url,
    checksums: checksums(sha256),
    sourceInfo: "fetched in a RUN of the recipe",
    primaryPackagePurpose: "SOURCE",
  };
}

function dependencyPackage(name: string, version: string | undefined, digest: Digest): SbomPackage {
  return {
    ...unknown,
    licenseDeclared: "NOASSERTION",
    SPDXID: idOf("Dependency", name),
    name,
    ...(version === undefined ? {} : { versionInfo: version }),
    downloadLocation: "NOASSERTION",
    checksums: checksums(hexOf(digest)),
    externalRefs: purl(name, digest),
    primaryPackagePurpose: "CONTAINER",
  };
}

/**
 * The most characters of a license to parse: the parser is recursive. StageX's longest has under
 * 350.
 */
const longestExpression = 1000;

/**
 * Returns the license in package.toml if it is a valid SPDX expression (annex D); otherwise no
 * assertion, and the text as comment.
 */
function declaredLicense(license: string | null): Pick<SbomPackage, "licenseDeclared" | "licenseComments"> {
  if (license === null) return { licenseDeclared: "NOASSERTION" };
  const words = { licenseDeclared: "NOASSERTION", licenseComments: `package.toml says: ${license}` };
  if (license.length > longestExpression) return words;
  try {
    // References to other documents can't be resolved.
    if (!idsIn(parseLicense(license)).some((id) => id.startsWith("DocumentRef-")))
      return { licenseDeclared: license };
  } catch {}
  return words;
}

/**
 * Lists the licenses that SPDX does not know, as section 10 requires. Their texts are in the
 * sources.
 */
function extractedLicenses(packages: readonly SbomPackage[]): ExtractedLicense[] {
  const ids = packages.flatMap(({ licenseDeclared }) =>
    licenseDeclared === "NOASSERTION" ? [] : idsIn(parseLicense(licenseDeclared)),
  );
  return [...new Set(ids.filter((id) => id.startsWith("LicenseRef-")))].map((licenseId) => ({
    licenseId,
    name: licenseId.slice("LicenseRef-".length),
    extractedText: "The text is in the sources.",
  }));
}

function idsIn(license: parseLicense.Info): string[] {
  return "license" in license ? [license.license] : [...idsIn(license.left), ...idsIn(license.right)];
}

/**
 * Makes an SPDX id (section 7.2): letters, digits, dots and dashes. It stays unique, since one of
 * the parts is unique without the rest.
 */
function idOf(...parts: readonly string[]): string {
  return `SPDXRef-${parts.join("-").replace(/[^A-Za-z0-9.-]/g, "-")}`;
}

function checksums(hex: string): SbomPackage["checksums"] {
  return [{ algorithm: "SHA256", checksumValue: hex }];
}

/** github.com/package-url/purl-spec, type `oci`. */
function purl(image: string, digest: Digest): NonNullable<SbomPackage["externalRefs"]> {
  const referenceLocator = `pkg:oci/${image}@${encodeURIComponent(digest)}`;
  return [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator }];
}

function isAddress(text: string | null): text is string {
  return text !== null && URL.canParse(text);
}
