import { isDeepStrictEqual } from "node:util";
import { printable } from "../../lib/printable.ts";
import { print, printError } from "../../lib/terminal.ts";
import { mustCount, writable } from "../../providers/stagex/attestation/attest.ts";
import { builderClaim } from "../../providers/stagex/attestation/own-build.ts";
import { repositoryOf } from "../../trust/image-reference.ts";
import { quoted } from "../../trust/rejection.ts";
import { verifyMessage } from "../../trust/signed-message.ts";
import { type KitEntry, readKit } from "../../trust/signing-kit.ts";
import { readPayload } from "../../trust/simple-signing.ts";
import { exitCode } from "../exit-code.ts";
import {
  type Attestable,
  type AttestableImages,
  type AttestableOptions,
  attestableImages,
  signed,
} from "./attestable.ts";

/** Files what counts; resolves to the exit code. */
export async function importKit(file: string, options: AttestableOptions): Promise<number> {
  const entries = await readKit(file);
  const images = await attestableImages(options);
  const folder = writable(images.lookaside, images.where);
  let [filed, present, unsigned, leftOut] = [0, 0, 0, 0];
  for (const { name, signature } of entries) {
    if (!signature) {
      unsigned++;
      continue;
    }
    const found = await counting(signature, images).catch((error: Error) => error.message);
    if (typeof found === "string") {
      leftOut++;
      print(printable`${name}  left out: ${found}`);
    } else if (await signed(images, found)) present++;
    else {
      const { reference, digest } = found.manifest;
      const number = await folder.write(repositoryOf(reference), digest, signature);
      print(printable`${name}  ${found.reference}@${digest}  ${number}`);
      if (found.warning !== undefined) printError(printable`stagex: ${name}: ${found.warning}`);
      filed++;
    }
  }
  print(printable`${filed} filed, ${present} there already, ${leftOut} left out, ${unsigned} not signed`);
  return leftOut > 0 || filed + present === 0 ? exitCode.no : exitCode.ok;
}

/**
 * What a signature attests. Nothing that the kit says is taken for true: it has been elsewhere. What is signed must be exactly what
 * this machine would have given to sign, and by the person who was to.
 * @throws where it does not count, with the reason
 */
async function counting(
  bytes: NonNullable<KitEntry["signature"]>,
  images: AttestableImages,
): Promise<Attestable & { readonly warning: string | undefined }> {
  const { person, trust, manifests } = images;
  const { content } = await verifyMessage(bytes, trust.keyring);
  const { reference, digest, builder } = readPayload(content);
  const found = manifests.find(
    ({ manifest }) => manifest.reference === reference && manifest.digest === digest,
  );
  if (!found) throw new Error(`it is for ${quoted(reference)} ${digest}, which was not built here`);
  if (!isDeepStrictEqual(builder, builderClaim(found.record))) {
    throw new Error("what it says of the builder is not what was recorded here when it was built");
  }
  const warning = await mustCount(bytes, found.manifest, person, found.vendor, trust);
  return { ...found, warning };
}
