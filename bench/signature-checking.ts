import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateKey, type KeyOptions } from "openpgp";
import { projectRoot } from "../lib/paths.ts";
import { digestOf } from "../oci/digest.ts";
import { signingKeyOf } from "../trust/openpgp/signing-key.ts";
import { parsePinnedImage, repositoryOf } from "../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../trust/signatures/lookaside-folder.ts";
import { serializePayload } from "../trust/signatures/simple-signing.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import { timePairs } from "./pairs.ts";

/** The number of images of release 2026.03.0. */
const images = 513;

/** Keys of the kinds that its maintainers have, and one machine for each. */
const people: readonly (Partial<Omit<KeyOptions, "format">> & { brand: string })[] = [
  { type: "rsa", rsaBits: 4096, brand: "AMD" },
  { type: "rsa", rsaBits: 4096, brand: "Intel" },
  { type: "ecc", curve: "ed25519Legacy", brand: "AMD" },
];

/**
 * Measures the check of a release's signatures, three for each image. The reference runs one `gpgv`
 * for each, as in a shell script.
 */
export async function benchSignatures(bench: BenchmarkRun): Promise<BenchmarkResult> {
  await layOutRelease(bench.scratch);
  const program = join(projectRoot, "bench/release-signatures.ts");
  const ours = {
    command: [process.execPath, program, bench.scratch] as [string, ...string[]],
    cwd: projectRoot,
  };
  const loop =
    'for file in signatures/*/*/signature-*; do gpgv --quiet --keyring ./keys.gpg "$file" > /dev/null 2>&1 || exit 1; done';
  const theirs = { command: ["sh", "-c", loop] as [string, ...string[]], cwd: bench.scratch };
  const name = `${images} images x ${people.length} signatures judged, against a gpgv loop that only verifies`;
  return { results: [await timePairs(name, ours, theirs, bench.pairs, 1 / 3)], notes: [] };
}

async function layOutRelease(folder: string): Promise<void> {
  const born = new Date(Date.now() - 3_600_000);
  const keys = [];
  for (const [index, { brand, ...options }] of people.entries()) {
    const userIDs = [{ name: `p${index}`, email: `p${index}@seed-tree.example` }];
    const { privateKey } = await generateKey({
      ...options,
      userIDs,
      date: born,
      subkeys: [],
      format: "object",
    });
    keys.push({ privateKey, brand });
  }
  const tables = keys.map(({ privateKey, brand }, index) => {
    const id = privateKey.getFingerprint();
    return `[people.p${index}]\n[keys.p${index}.k]\nid = "${id}"\n[machines.p${index}.m]\nbrand = "${brand}"\n`;
  });
  await writeFile(join(folder, "MAINTAINERS"), tables.join(""));
  await writeFile(
    join(folder, "keys.gpg"),
    Buffer.concat(keys.map(({ privateKey }) => privateKey.toPublic().write())),
  );
  const names = Array.from(
    { length: images },
    (_, index) => `stagex/core-${index}:1.0@${digestOf(`${index}`)}`,
  );
  await writeFile(join(folder, "images"), names.join("\n"));
  const lookaside = new LookasideFolder(join(folder, "signatures"));
  const signers = await Promise.all(keys.map(({ privateKey }) => signingKeyOf(privateKey)));
  for (const { reference, digest } of names.map(parsePinnedImage)) {
    const payload = serializePayload({ reference, digest, builder: {} });
    for (const signer of signers)
      await lookaside.write(repositoryOf(reference), digest, await signer.sign(payload));
  }
}
