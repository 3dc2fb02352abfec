import { isDeepStrictEqual } from "node:util";
import { limitPerKind } from "../../lib/text/limit-per-kind.ts";
import { type Printable, printable } from "../../lib/text/printable.ts";
import { quoteShellWord } from "../../lib/text/shell-word.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { builderClaimOf } from "../../pipeline/attestation/built-here.ts";
import { requireSignatureCounts, requireWritable } from "../../pipeline/attestation/signature.ts";
import { quoteUntrusted } from "../../trust/openpgp/signature-rejection.ts";
import { verifySignedMessage } from "../../trust/openpgp/signed-message.ts";
import { keyOwners, type Person } from "../../trust/quorum/roster.ts";
import { repositoryOf } from "../../trust/signatures/image-reference.ts";
import { type KitEntry, readKit } from "../../trust/signatures/signing-kit.ts";
import { parsePayload } from "../../trust/signatures/simple-signing.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";
import {
  findSignableImages,
  isSigned,
  type SignableImages,
  type SignableManifest,
  type SignableOptions,
} from "./signable-images.ts";

/** A signature in the kit that is left out, and the reason. */
type LeftOut = { readonly name: string; readonly reason: string };

/** A signature by another person in the roster. */
class OthersSignature extends Error {
  readonly by: string;
  constructor(by: string, person: Person) {
    super(`it is by ${by}, not by ${person.id}; import ${by}'s signatures with --person ${by}`);
    this.by = by;
  }
}

/**
 * Adds the signatures that count to the lookaside.
 * @returns the exit code
 * @throws CommandError if all signatures in the kit are by other people
 */
export async function importKit(file: string, options: SignableOptions): Promise<number> {
  const entries = await readKit(file);
  const images = await findSignableImages(options);
  const folder = requireWritable(images.lookaside, images.lookasideAddress);
  const verified: { name: string; signature: Uint8Array; found: VerifiedKitSignature | Error }[] = [];
  for (const { name, signature } of entries) {
    if (!signature) continue;
    const found = await verifyKitSignature(signature, images).catch((error: Error) => error);
    verified.push({ name, signature, found });
  }
  requireSignedBy(
    images.person,
    file,
    verified.map(({ found }) => found),
    options,
  );
  let [filed, present] = [0, 0];
  const leftOut: LeftOut[] = [];
  for (const { name, signature, found } of verified) {
    if (found instanceof Error) leftOut.push({ name, reason: found.message });
    else if (await isSigned(images, found)) present++;
    else {
      const { reference, digest } = found.manifest;
      const number = await folder.write(repositoryOf(reference), digest, signature);
      print(printable`${name}  ${found.reference}@${digest}  ${number}`);
      if (found.warning !== undefined) printError(printable`stagex: ${name}: ${found.warning}`);
      filed++;
    }
  }
  for (const line of formatLeftOut(leftOut)) print(line);
  const unsigned = entries.length - verified.length;
  print(
    printable`${filed} filed, ${present} there already, ${leftOut.length} left out, ${unsigned} not signed`,
  );
  return leftOut.length > 0 || filed + present === 0 ? exitCode.no : exitCode.ok;
}

/** Throws if other people made all signatures in the kit: each of them would be left out. */
function requireSignedBy(
  person: Person,
  file: string,
  found: readonly (VerifiedKitSignature | Error)[],
  options: SignableOptions,
): void {
  const others = found.flatMap((one) => (one instanceof OthersSignature ? [one.by] : []));
  const [by, ...further] = new Set(others);
  if (by === undefined || others.length < found.length) return;
  const stack = options.stack === "dev" ? "" : `--stack ${quoteShellWord(options.stack)} `;
  throw new CommandError(
    printable`${file} is signed by ${[by, ...further].join(" and ")}, and not by ${person.id}: nothing of it is filed.
To file it as what ${by} has signed: npm run stagex sign import ${quoteShellWord(file)} -- ${stack}--person ${quoteShellWord(by)}
To have ${person.id} sign: npm run stagex sign export -- ${stack}--person ${quoteShellWord(person.id)} --out kit.tar`,
  );
}

/**
 * Lists the first of many signatures that are left out for the same reason, and counts the others.
 */
function formatLeftOut(leftOut: readonly LeftOut[]): Printable[] {
  return limitPerKind(
    leftOut,
    // Names and digests differ from image to image.
    ({ reason }) => reason.replace(/\S+/g, (word) => (word.slice(0, -1).includes(":") ? "…" : word)),
    ({ name, reason }) => printable`${name}  left out: ${reason}`,
    (count, { reason }) => printable`and ${count} more left out for the same reason as the last: ${reason}`,
  );
}

type VerifiedKitSignature = SignableManifest & { readonly warning: string | undefined };

/**
 * Verifies a signature in a kit. The kit was on another machine, so nothing else in it is believed.
 * The signed payload must be exactly what this machine would have exported, and the signer the
 * person who was to sign.
 * @throws Error with the reason why the signature does not count
 */
async function verifyKitSignature(
  bytes: NonNullable<KitEntry["signature"]>,
  images: SignableImages,
): Promise<VerifiedKitSignature> {
  const { person, trust, manifests } = images;
  const { content, fingerprint } = await verifySignedMessage(bytes, trust.keyring);
  const signer = keyOwners(trust.roster, (each) => trust.keyring.primaryOf(each)).get(fingerprint);
  if (signer !== undefined && signer.id !== person.id) throw new OthersSignature(signer.id, person);
  const { reference, digest, builder } = parsePayload(content);
  const found = manifests.find(
    ({ manifest }) => manifest.reference === reference && manifest.digest === digest,
  );
  if (!found) throw new Error(`it is for ${quoteUntrusted(reference)} ${digest}, which was not built here`);
  if (!isDeepStrictEqual(builder, builderClaimOf(found.record))) {
    throw new Error("its claim about the builder is not what was recorded here at the build");
  }
  const warning = await requireSignatureCounts(bytes, found.manifest, person, found.vendor, trust);
  return { ...found, warning };
}
