import { z } from "zod";
import { imageName, platform, printableText } from "../../config/property-schemas.ts";
import { type InputKey, inputKeySchema } from "../../distro/input-key.ts";
import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { digestSchema } from "../../oci/digest.ts";
import { imageDigests } from "../context/known-digests.ts";
import { type InPreview, previewSchema } from "../unknown-schema.ts";

const fileName = printableText.regex(/^(?!\.{1,2}$)[^/\\]+$/, { error: "not a plain file name" });
const treePath = printableText.regex(/^(?!.*(^|\/)(\.{0,2})(\/|$))[\s\S]+$/, {
  error: 'not a path inside the tree (relative, with "/", without "." or "..")',
});
const argumentName = z.string().regex(/^[A-Za-z_][\w.-]*$/, { error: "not a build argument's name" });

const generator = printableText
  .min(1)
  .describe("Generation of StageX's generator. Default: `src/targets.py`.");
const image = imageName.describe("Name of the image: `<stage>-<package or subpackage>`.");
const version = printableText
  .min(1)
  .describe("Version of the package, an annotation of the image; `latest` for a package without one.");
const recipe = treePath.describe("Path of the Containerfile, relative to the tree.");
const containerfile = digestSchema.describe("Digest of the Containerfile's bytes.");
const target = printableText
  .min(1)
  .describe("Stage of the Containerfile to build: `package-<subpackage>`. Default: the last stage.");
const platforms = z
  .array(platform)
  .min(1)
  .describe("Platforms to build for. StageX publishes the digest of the first.");
const buildArgs = z
  .record(argumentName, printableText)
  .describe("Build arguments that StageX's generator passes.");
const context = digestSchema.describe(
  "Digest of path, mode and content of the package's files that its Containerfile can read.",
);
const sources = z.record(fileName, digestSchema).describe("Source files: name below `fetch/` and digest.");
const mirrors = z
  .record(fileName, z.array(printableText))
  .describe("Addresses of each source, in place of the tree's mirrors. A change does not cause a rebuild.");
const dependencies = z
  .record(imageName, digestSchema)
  .describe("Images that it is built from: name and digest.");
const expectedDigest = digestSchema.describe(
  "Digest that the tree publishes of the first platform. A build with another digest fails.",
);
const expectedDigests = z
  .record(platform, digestSchema)
  .describe("Digests that the tree publishes of the other platforms.");
const expectedIndex = digestSchema.describe(
  "Digest that the tree publishes of the index over several platforms.",
);
const reproduceOn = z
  .array(printableText.min(1))
  .min(1)
  .describe(
    "CPU vendors or names of builders. The image is built once on each, and all digests must be equal.",
  );

/** The inputs of a package, all of them known. */
export const packageInputs = z.strictObject({
  generator: generator.optional(),
  image,
  version,
  recipe,
  containerfile,
  target: target.optional(),
  platforms,
  buildArgs,
  context,
  sources,
  mirrors: mirrors.optional(),
  dependencies,
  expectedDigest: expectedDigest.optional(),
  expectedDigests: expectedDigests.optional(),
  expectedIndex: expectedIndex.optional(),
  reproduceOn: reproduceOn.optional(),
});
export type PackageInputs = z.infer<typeof packageInputs>;

/**
 * A package's inputs with their key, which is computed once for all that happens to the package.
 */
export type KeyedPackage = PackageInputs & { readonly inputKey: InputKey };

/** Computes the input key of a package and adds it to the inputs. */
export function withInputKey(inputs: PackageInputs): KeyedPackage {
  return { ...inputs, inputKey: inputKeyOf(inputs) };
}

/** The inputs in a preview, where some may be unknown. */
export const packagePreview = previewSchema(packageInputs);
export type PackagePreview = InPreview<typeof packageInputs>;

/** The outputs of a package. */
export const packageOutputs = z.strictObject({
  ...imageDigests,
  inputKey: inputKeySchema.describe("Digest of all inputs that can change the image."),
  origin: z
    .enum(["built", "ledger", "substituted"])
    .describe("How the image was obtained: built, from the ledger, or substituted by a published one."),
});
export type PackageOutputs = z.infer<typeof packageOutputs>;
