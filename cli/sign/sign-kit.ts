import { printable } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { tryParseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import {
  agentSigningKey,
  exportKeyringFromGpg,
  loadSigningKey,
  type SigningKey,
} from "../../trust/openpgp/signing-key.ts";
import { type KitEntry, readKit, writeKit } from "../../trust/signatures/signing-kit.ts";
import { parsePayload } from "../../trust/signatures/simple-signing.ts";
import { TrustError } from "../../trust/trust-error.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";

/** Signs the payloads in a kit that are not signed yet. @returns the exit code */
export async function signKit(
  kit: string,
  { key: named, out = kit }: { readonly key: string; readonly out?: string },
): Promise<number> {
  const entries = [...(await readKit(kit))];
  // Before anything is signed: a kit with any other payload was not made by stagex sign export.
  const names = entries.map(describePayload);
  const key = await openKey(named);
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort(new TrustError("interrupted")));
  try {
    for (const [index, entry] of entries.entries()) {
      if (entry.signature) continue;
      const place = `${index + 1} of ${entries.length}`;
      print(printable`${place}: ${names[index] ?? ""}`);
      const signature = await key.sign(entry.payload, {
        signal: interrupted.signal,
        onProgress: (words) => printError(printable`${words}: ${place}`),
      });
      entries[index] = { ...entry, signature };
    }
  } catch (error) {
    throw error instanceof TrustError ? new CommandError(error.message, exitCode.no) : error;
  } finally {
    await writeKit(out, entries);
    const done = entries.filter(({ signature }) => signature).length;
    print(printable`${out}: ${done} of ${entries.length} signed by ${key.fingerprint}`);
  }
  return exitCode.ok;
}

function describePayload({ name, payload }: KitEntry): string {
  try {
    const { reference, digest } = parsePayload(payload);
    return `${reference}@${digest}`;
  } catch (error) {
    throw new TrustError(
      `nothing is signed, since ${name} is no payload of an image: ${(error as Error).message}`,
    );
  }
}

async function openKey(text: string): Promise<SigningKey> {
  const fingerprint = tryParseFingerprint(text);
  if (!fingerprint) return await loadSigningKey(text);
  return agentSigningKey(fingerprint, { keyring: await exportKeyringFromGpg(fingerprint) });
}
