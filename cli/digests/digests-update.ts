import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type ConfigValues, parseConfig, type StagexConfig } from "../../config/schema.ts";
import { type KeyLookup, lookUpOwnFirst } from "../../distro/plan/predict-digests.ts";
import { type DigestChanges, findDigestChanges } from "../../distro/published/digest-changes.ts";
import { findPublishedTree } from "../../distro/published/published-tree.ts";
import { createReleaseRecords, hasManifestDigests } from "../../distro/published/release-records.ts";
import { formatDigestsFiles, publishedPlatform } from "../../distro/tree/digests-file.ts";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { readTree, readTreeSource, type Tree } from "../../distro/tree/tree.ts";
import { replaceFile } from "../../lib/fs/atomic-write.ts";
import { pathsOf } from "../../lib/paths.ts";
import { printable, printableBlock } from "../../lib/text/printable.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { openLedgers } from "../../pipeline/context/open-ledgers.ts";
import { readConfiguredTree } from "../../pipeline/context/open-tree.ts";
import { parseTreeAddress } from "../../sources/tree/tree-checkout.ts";
import { asUsageError, CommandError, exitCode } from "../output/exit-code.ts";

export type DigestsUpdateOptions = {
  readonly tree?: string;
  readonly since?: string;
  readonly write?: boolean;
};

/**
 * Prints or writes the lines of `digests/*.txt` that a change of a tree needs.
 * @param settings returns the stack's settings, for a call without a named tree
 */
export async function updateDigests(
  options: DigestsUpdateOptions,
  settings: () => Promise<ConfigValues>,
): Promise<void> {
  const { config, tree } = await treeOf(options, settings).catch((error: unknown) =>
    Promise.reject(asUsageError(error)),
  );
  const taken = new Set<string>();
  const lookup = await lookupIn(config, tree, taken);
  const found = await findDigestChanges(tree, await olderSide(tree, options, config), lookup);
  requireKnown(found);
  const { changed, gone } = found;
  const others = [...changed].flatMap(([name, hex]) => (taken.has(`sha256:${hex}`) ? [name] : []));
  if (others.length > 0)
    printError(
      printable`${others.length} of ${changed.size} were not built by this state folder's own builders: ${shortenList(others, mostNames)}`,
    );
  if (gone.length > 0)
    printError(printable`to be taken out, as their images are no more: ${shortenList(gone, mostNames)}`);
  if (changed.size + gone.length === 0) printError(printable`no line changes`);
  if (options.write) await writeInto(tree, found);
  else if (changed.size > 0)
    print(printableBlock([...formatDigestsFiles(changed).values()].join("").trimEnd()));
}

async function treeOf(
  { tree: folder, write }: DigestsUpdateOptions,
  settings: () => Promise<ConfigValues>,
): Promise<{ config: StagexConfig; tree: Tree }> {
  if (folder !== undefined) return { config: parseConfig({}), tree: await readTree(folder) };
  const config = parseConfig(await settings());
  const [platform = publishedPlatform] = config.platforms;
  if (platform !== publishedPlatform)
    throw new CommandError(
      printable`--changed is about StageX's own files, whose lines are of ${publishedPlatform}; stagex:platforms begins with ${platform}`,
    );
  if (write && parseTreeAddress(config.tree, pathsOf().project).kind !== "folder")
    throw new CommandError("stagex:tree is a checkout that nobody commits; name a folder: --tree DIR");
  return { config, tree: await readConfiguredTree(config, pathsOf()) };
}

async function olderSide(
  tree: Tree,
  { since }: DigestsUpdateOptions,
  { platforms }: StagexConfig,
): Promise<Pick<Tree, "images" | "digests">> {
  if (since === undefined) {
    const published = await findPublishedTree(tree, { platforms });
    if ("tree" in published) return published.tree;
    throw new CommandError(
      `what the digests were published of can't be told: ${published.doubt}. Or name the older side: --since REVISION`,
    );
  }
  if (!hasManifestDigests(since))
    throw new CommandError(
      `--since ${since}: up to 2025.06.0 StageX published the digests of image indexes, which can't be compared. Take 2025.06.1 or a later one`,
    );
  return await readTreeSource(await openGitTree(tree.root, await resolveCommit(tree.root, since)), {
    platforms,
  });
}

/**
 * Returns a lookup in three places: the builds of this state folder, the ledgers' other records,
 * and the tree's own published digests.
 * @param taken receives the digests that were not built here
 */
async function lookupIn(config: StagexConfig, tree: Tree, taken: Set<string>): Promise<KeyLookup> {
  const ledgers = openLedgers(config, pathsOf());
  const recorded: KeyLookup = (key) => lookUpOwnFirst(ledgers, key);
  const published = await findPublishedTree(tree, { platforms: config.platforms });
  const { records } =
    "tree" in published
      ? await createReleaseRecords(
          { name: "published", tree: published.tree, finished: new Date(0) },
          recorded,
        )
      : { records: [] };
  const ofTree = new Map(records.map(({ inputKey, digests }) => [inputKey, digests]));
  return async (key) => {
    const own = await ledgers.built.lookUp(key);
    if (own.kind === "known") return own.digests;
    const digests = (await recorded(key)) ?? ofTree.get(key) ?? null;
    for (const digest of Object.values(digests?.platforms ?? {})) taken.add(digest);
    return digests;
  };
}

function requireKnown({ unknown }: DigestChanges): void {
  if (unknown.length === 0) return;
  throw new CommandError(
    printable`nobody has built ${shortenList(unknown, mostNames)} from their present inputs, so their digests are not known yet. Build them: npm start, or pulumi up`,
    exitCode.no,
  );
}

/** The most images that a message names. */
const mostNames = 20;

/** Changes these lines in the files of the tree; keeps all others. */
async function writeInto(tree: Tree, { changed, gone }: DigestChanges): Promise<void> {
  const digests = new Map([...tree.digests, ...changed]);
  for (const name of gone) digests.delete(name);
  const stages = new Set([...changed.keys(), ...gone].map((name) => name.split("-", 1)[0]));
  for (const [file, text] of formatDigestsFiles(digests)) {
    const stage = file.slice(file.indexOf("/") + 1, -".txt".length);
    if (stages.has(stage)) await writeDigestsFile(join(tree.root, file), text);
  }
}

/** Writes a file of digests, and prints its path. */
export async function writeDigestsFile(file: string, text: string): Promise<void> {
  await mkdir(join(file, ".."), { recursive: true });
  await replaceFile(file, text);
  print(printable`${file}`);
}
