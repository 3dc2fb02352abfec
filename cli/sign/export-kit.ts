import { printable, printableLines } from "../../lib/text/printable.ts";
import { quoteShellWord } from "../../lib/text/shell-word.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { createPayload } from "../../pipeline/attestation/signature.ts";
import { kitEntryName, writeKit } from "../../trust/signatures/signing-kit.ts";
import { exitCode } from "../output/exit-code.ts";
import {
  findSignableImages,
  isSigned,
  type SignableManifest,
  type SignableOptions,
} from "./signable-images.ts";

/** Writes a kit with everything that is still unsigned. @returns the exit code */
export async function exportKit(options: SignableOptions & { readonly out: string }): Promise<number> {
  const images = await findSignableImages(options);
  for (const reason of images.notBuiltHere) printError(printable`stagex: ${reason}`);
  const { person, manifests } = images;
  if (manifests.length === 0) {
    printError(printable`stagex: nothing was built here, so there is nothing to sign`);
    return exitCode.no;
  }
  const left: SignableManifest[] = [];
  for (const manifest of manifests) if (!(await isSigned(images, manifest))) left.push(manifest);
  if (left.length === 0) {
    print(printable`nothing is left to sign: ${person.id} has signed all ${manifests.length}`);
    return exitCode.ok;
  }
  const now = new Date();
  const entries = left.map(({ image, reference, manifest, record }, index) => ({
    name: kitEntryName(index + 1, image),
    payload: createPayload(reference, manifest.digest, record, now),
  }));
  await writeKit(options.out, entries);
  const again = [
    ...(options.stack === "dev" ? [] : ["--stack", options.stack]),
    ...(options.person === undefined ? [] : ["--person", options.person]),
  ];
  const same = again.length === 0 ? "" : ` -- ${again.map(quoteShellWord).join(" ")}`;
  print(
    printableLines([
      printable`${options.out}: ${left.length} to sign by ${person.id}, ${manifests.length - left.length} signed already`,
      printable`On the machine with the key: tar -xf ${quoteShellWord(options.out)} && sh stagex-signing-kit/sign.sh FINGERPRINT`,
      printable`Back here: npm run stagex sign import signed.tar${same}`,
    ]),
  );
  return exitCode.ok;
}
