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
  .describe("The generation of StageX's generator; `src/targets.py` where not given.");
const image = imageName.describe("The image's name, `<stage>-<package or subpackage>`.");
const version = printableText
  .min(1)
  .describe("The package's version, an annotation of the image; `latest` where it has none.");
const recipe = treePath.describe("The Containerfile, relative to the tree.");
const containerfile = digestSchema.describe("Digest of the Containerfile's bytes.");
const target = printableText
  .min(1)
  .describe("The Containerfile's stage to build, `package-<subpackage>`; its last one where not given.");
const platforms = z
  .array(platform)
  .min(1)
  .describe("What to build for. StageX publishes the digest of the first.");
const buildArgs = z
  .record(argumentName, printableText)
  .describe("Build arguments, as StageX's generator passes them.");
const context = digestSchema.describe(
  "Digest over path, mode and content of those files of the package that its Containerfile can read.",
);
const sources = z.record(fileName, digestSchema).describe("Source files: name below `fetch/` to digest.");
const mirrors = z
  .record(fileName, z.array(printableText))
  .describe("Where each source can be had, if elsewhere than the tree says. Never a reason to rebuild.");
const dependencies = z
  .record(imageName, digestSchema)
  .describe("The images it is built from: name to digest.");
const expectedDigest = digestSchema.describe(
  "What the tree's published digests say; another outcome fails the resource.",
);
const expectedDigests = z
  .record(platform, digestSchema)
  .describe("The same of the other platforms, where the tree publishes them.");
const expectedIndex = digestSchema.describe(
  "The same of the index over several platforms, where the tree publishes it.",
);
const reproduceOn = z
  .array(printableText.min(1))
  .min(1)
  .describe("CPU vendors, or builders' names: it is built once on each, and all must come out the same.");

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
  inputKey: inputKeySchema.describe("Digest of everything that can change the output."),
  origin: z.enum(["built", "ledger", "substituted"]).describe("How this output was come by."),
});
export type PackageOutputs = z.infer<typeof packageOutputs>;
