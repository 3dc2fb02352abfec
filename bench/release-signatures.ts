import { readFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { Keyring } from "../trust/openpgp/keyring.ts";
import { evaluateQuorum } from "../trust/quorum/quorum.ts";
import { parseRoster } from "../trust/quorum/roster.ts";
import { parsePinnedImage, repositoryOf } from "../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../trust/signatures/lookaside-folder.ts";

/**
 * Evaluates the quorum of all images of a release: `node bench/release-signatures.ts FOLDER`, a
 * folder of bench/signature-checking.ts.
 */
const folder = process.argv[2] ?? ".";
const roster = parseRoster(await readFile(join(folder, "MAINTAINERS"), "utf8"));
const keyring = await Keyring.load(join(folder, "keys.gpg"));
const lookaside = new LookasideFolder(join(folder, "signatures"));
const images = (await readFile(join(folder, "images"), "utf8")).trim().split("\n").map(parsePinnedImage);
const several = pLimit(8);
const outcomes = await Promise.all(
  images.map((image) =>
    several(async () => {
      const signatures = await lookaside.read(repositoryOf(image.reference), image.digest);
      return evaluateQuorum(image, signatures, { roster, keyring }, { threshold: 3, vendors: 2 });
    }),
  ),
);
const met = outcomes.filter((outcome) => outcome.met).length;
if (met !== images.length) throw new Error(`${met} of ${images.length} images at quorum`);
