import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Command } from "commander";
import { type ConfigValues, parseConfig } from "../../config/schema.ts";
import { isInputKey } from "../../distro/input-key.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import {
  type DigestSet,
  digestSetOfPlatform,
  digestsOfOtherPlatforms,
  formatDigestsFiles,
  furtherDigestsOf,
  publishedPlatform,
} from "../../distro/tree/digests-file.ts";
import { pathsOf } from "../../lib/paths.ts";
import { printable, printableBlock } from "../../lib/text/printable.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { hexOf, parseDigest } from "../../oci/digest.ts";
import { parseTreeAddress, type TreeAddress } from "../../sources/tree/tree-checkout.ts";
import { type DigestsUpdateOptions, updateDigests, writeDigestsFile } from "../digests/digests-update.ts";
import { printConfigWarnings } from "../engine/config-warnings.ts";
import { provideEngine } from "../engine/provide-engine.ts";
import { Stack, type StackPackage } from "../engine/stack.ts";
import { asUsageError, CommandError, exitCode } from "../output/exit-code.ts";

/** Creates `stagex digests`, which prints the digests that a release of the tree would publish. */
export function digestsCommand(): Command {
  return new Command("digests")
    .description("Prints the digest of each image of a stack, in the format of StageX's digests/<stage>.txt.")
    .option("--stack <name>", "the stack", "dev")
    .option(
      "--platform <platform>",
      "print the digests of this further platform of images for several, or of the `index`",
    )
    .option(
      "--write",
      "write all of them into the tree's digests/ instead, for the images that the stack has",
    )
    .option(
      "--changed",
      "only the lines that a pull request needs: of images whose digest is another than was published. Builds nothing;\n" +
        "exits with 1 where one is not known yet",
    )
    .option(
      "--since <revision>",
      "with --changed: the older side, by default the commit that published the digests",
    )
    .option(
      "--tree <folder>",
      "with --changed: the StageX tree, by default the stack's; then no engine is needed",
    )
    .action(async (options: Options) => {
      const { stack: name, platform, write, changed, since, tree } = options;
      if (changed && platform !== undefined)
        throw new CommandError("--platform is no option of --changed, which is about StageX's own files");
      if (changed) return await updateDigests(options, () => settingsOf(name));
      if (since !== undefined || tree !== undefined)
        throw new CommandError("--since and --tree are options of --changed");
      const paths = pathsOf();
      const stack = new Stack(name, await provideEngine(false), paths);
      const digests = [...(await stack.readDigests())].map(
        ([image, digest]) => [image, hexOf(parseDigest(digest))] as const,
      );
      if (digests.length === 0)
        throw new CommandError(printable`the stack ${name} has no images; build them with: npm start`);
      let asked: Promise<ConfigValues> | undefined;
      const settings = () => (asked ??= settingsOf(name));
      const packages = await stack.readPackages();
      await reportForeignDigests(packages, new Ledger(paths.built));
      const sets = digestSets(new Map(digests), packages, await platformsAskedOf(packages, settings));
      const filesOf = (set: DigestSet) => formatDigestsFiles(sets.get(set) ?? new Map(), set);
      if (!write) {
        const files = filesOf(platform === undefined ? "" : digestSetOfPlatform(platform));
        if (files.size === 0)
          throw new CommandError(
            platform === undefined
              ? printable`no image of the stack ${name} is for ${publishedPlatform}; name another: --platform`
              : printable`no image of the stack ${name} is for ${platform} beside its first platform`,
            exitCode.no,
          );
        if (platform !== undefined) reportOtherPlatforms(packages, platform);
        print(printableBlock([...files.values()].join("").trimEnd()));
        return;
      }
      const address = treeAddressIn(await settings(), paths.project);
      if (address.kind !== "folder")
        throw new CommandError(
          printable`stagex:tree of ${name} is a checkout that nobody commits; name a folder as stagex:tree`,
        );
      for (const [file, text] of [...sets.keys()].flatMap((set) => [...filesOf(set)]))
        await writeDigestsFile(join(address.folder, file), text);
    });
}

/** Returns the platforms of the stack's packages without platforms of their own. */
async function platformsAskedOf(
  packages: readonly StackPackage[],
  settings: () => Promise<ConfigValues>,
): Promise<readonly string[]> {
  // Where the answer is certain, the engine is not started.
  if (packages.every(({ platforms }) => platforms[0] === publishedPlatform)) return [publishedPlatform];
  const values = await settings();
  try {
    return parseConfig(values).platforms;
  } catch (error) {
    throw asUsageError(error);
  }
}

/**
 * Sorts the digests of a stack into sets, by image name.
 * @param first the digests of each image's first platform
 * @param asked the platforms of packages without their own; StageX's own files have only lines of
 *   amd64
 */
function digestSets(
  first: ReadonlyMap<string, string>,
  packages: readonly StackPackage[],
  asked: readonly string[],
): Map<DigestSet, Map<string, string>> {
  const own = new Map(first);
  const sets = new Map<DigestSet, Map<string, string>>([["", own]]);
  for (const { image, platforms, digests, index } of packages) {
    const hex = Object.fromEntries(
      Object.entries(digests).map(([each, digest]) => [each, hexOf(parseDigest(digest))]),
    );
    const isOfOther = asked[0] !== publishedPlatform && isDeepStrictEqual(platforms, asked);
    if (isOfOther) own.delete(image);
    const further = isOfOther
      ? digestsOfOtherPlatforms(platforms, hex)
      : furtherDigestsOf(platforms, hex, hexOf(parseDigest(index)));
    for (const [set, digest] of further) sets.set(set, (sets.get(set) ?? new Map()).set(image, digest));
  }
  return sets;
}

type Options = DigestsUpdateOptions & { stack: string; platform?: string; changed?: true };

async function settingsOf(name: string): Promise<ConfigValues> {
  const values = await new Stack(name, await provideEngine(false), pathsOf()).getConfig();
  printConfigWarnings(name, values);
  return values;
}

/** Reports on stderr the digests that were not built here, as their publisher should know. */
async function reportForeignDigests(packages: readonly StackPackage[], built: Ledger): Promise<void> {
  const others: string[] = [];
  for (const { image, inputKey, digests } of packages)
    if (!isInputKey(inputKey) || !(await built.hasRecordOf(image, inputKey, digests))) others.push(image);
  if (others.length === 0) return;
  printError(
    printable`${others.length} of ${packages.length} are not built by this state folder's own builders, but taken on a ledger's or a registry's word: ${shortenList(others, 10)}`,
  );
}

/** Reports on stderr the images that are not for a platform, so their lines are not missing. */
function reportOtherPlatforms(packages: readonly StackPackage[], platform: string): void {
  const elsewhere = packages.filter(({ platforms }) => !platforms.includes(platform));
  if (elsewhere.length === 0 || platform === "index") return;
  const names = elsewhere.map(({ image }) => image).sort();
  printError(printable`not for ${platform}, as their package.toml says: ${shortenList(names, 10)}`);
}

function treeAddressIn(settings: ConfigValues, project: string): TreeAddress {
  try {
    return parseTreeAddress(parseConfig(settings).tree, project);
  } catch (error) {
    throw asUsageError(error);
  }
}
