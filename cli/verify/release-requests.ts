import { hasManifestDigests } from "../../distro/published/release-records.ts";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { readTreeSource } from "../../distro/tree/tree.ts";
import { printable } from "../../lib/text/printable.ts";
import { digestFromHex } from "../../oci/digest.ts";
import { parseRegistryAddress, repositoryIn } from "../../oci/registry/registry-address.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { CommandError } from "../output/exit-code.ts";
import { signedRepository, type VerifyRequest } from "./verify-request.ts";

/** A release, and the registry with its images. */
export type ReleaseOptions = { release: string; tree: string; registry: string; signedAs?: string };

/**
 * Returns a request for every image that a release of a tree publishes in `digests/*.txt`, by
 * digest.
 * @throws TreeError where the tree has no such release, CommandError where it publishes no
 * manifests
 */
export async function releaseRequests({
  release,
  tree: root,
  registry,
  signedAs,
}: ReleaseOptions): Promise<VerifyRequest[]> {
  if (!hasManifestDigests(release)) {
    throw new CommandError(
      `${release} can't be verified: up to 2025.06.0 StageX published the digests of image indexes, not of the manifests that are signed`,
    );
  }
  const address = parseRegistryAddress(registry);
  const commit = await resolveCommit(root, `refs/tags/${release}`);
  const { digests, images } = await readTreeSource(await openGitTree(root, commit));
  if (digests.size === 0)
    throw new CommandError(printable`${release} publishes no digests (digests/*.txt) in ${root}`);
  return [...digests].map(([name, hex]) => {
    const pulled = repositoryIn(address, name);
    if (pulled === null) throw new CommandError(`${JSON.stringify(name)} is not a valid repository name`);
    return {
      image: name,
      source: {
        repository: parseRegistryAddress(pulled),
        what: { digest: digestFromHex(hex) },
      },
      signedAs: signedRepository(parseRepository(pulled), signedAs),
      signedTag: images.get(name)?.version ?? null,
    };
  });
}
