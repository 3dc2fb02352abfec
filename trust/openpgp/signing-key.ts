import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { createMessage, enums, type PrivateKey, readKeys, readPrivateKey, sign } from "openpgp";
import { logCommand } from "../../lib/debug-log.ts";
import { TrustError } from "../trust-error.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { Keyring } from "./keyring.ts";
import { fingerprintOf } from "./revocations.ts";
import { verifySignedMessage } from "./signed-message.ts";

/** A key that signs. It verifies each signature before it returns it. */
export type SigningKey = {
  /** The primary key of the certificate that owns the signatures. */
  readonly fingerprint: Fingerprint;
  /**
   * Signs the bytes as a binary opaque OpenPGP message.
   * @throws TrustError if the key can't sign, or the result is not a valid signature by it
   * @throws SigningCancelledError if the person at the key refused
   */
  sign(payload: Uint8Array, options?: SigningOptions): Promise<Uint8Array>;
};

/** Options for a signature that a person may have to confirm. */
export type SigningOptions = {
  readonly onProgress?: SigningProgress;
  /** Ends gpg, and what it waits for. */
  readonly signal?: AbortSignal;
};

/** The person at the key refused. Further requests in the same run fail in the same way. */
export class SigningCancelledError extends TrustError {}

/**
 * Loads a private key from a file, armored or binary, without a passphrase: for machines that sign
 * unattended. The primary key signs if its flags allow it, since podman before version 4.6 accepts
 * no signatures by subkeys.
 * @throws TrustError
 */
export async function loadSigningKey(file: string): Promise<SigningKey> {
  const bytes = await readFile(file).catch((error: Error) => {
    throw new TrustError(`no signing key: ${error.message}`);
  });
  return signingKeyOf(await parsePrivateKey(bytes, file), file);
}

/** Makes a signing key from a private key in memory. */
export async function signingKeyOf(key: PrivateKey, name = "the key"): Promise<SigningKey> {
  if (!key.isDecrypted()) {
    throw new TrustError(
      `${name} asks for a passphrase; sign through gpg-agent, which asks for it, by the key's fingerprint`,
    );
  }
  const keyring = await Keyring.of([key]);
  const fingerprint = fingerprintOf(key);
  const signer = await key.getSigningKey(key.getKeyID()).catch(() => key.getSigningKey());
  return {
    fingerprint,
    async sign(payload) {
      const message = await createMessage({ binary: payload, format: "binary" });
      const signed = await sign({
        message,
        signingKeys: key,
        signingKeyIDs: signer.getKeyID(),
        format: "binary",
        config: {
          preferredHashAlgorithm: enums.hash.sha512,
          preferredCompressionAlgorithm: enums.compression.uncompressed,
        },
      });
      return requireOwnSignature(signed, payload, fingerprint, keyring);
    },
  };
}

/** Receives what the person at the key has to do: enter a PIN, or touch a card. */
export type SigningProgress = (words: string) => void;

export type AgentOptions = {
  /** The public certificates, to verify gpg's signatures with. */
  readonly keyring: Keyring;
  /** gpg's home folder; by default gpg chooses. */
  readonly home?: string;
};

/**
 * Makes a signing key from a key that gpg-agent has, in its files or on a smart card. A card may
 * need a PIN and a touch for each signature.
 * @param fingerprint of exactly the key that is to sign, primary or subkey: gpg may choose no other
 */
export function agentSigningKey(fingerprint: Fingerprint, options: AgentOptions): SigningKey {
  const { keyring } = options;
  const primary = keyring.primaryOf(fingerprint);
  // A card and a pinentry serve one signature at a time.
  let previous: Promise<unknown> = Promise.resolve();
  return {
    fingerprint: primary,
    sign(payload, attended = {}) {
      const signed = previous.then(async () =>
        requireOwnSignature(
          await signWithGpg(fingerprint, payload, attended, options.home),
          payload,
          primary,
          keyring,
        ),
      );
      previous = signed.catch(() => {});
      return signed;
    },
  };
}

/**
 * Exports the certificate of a key from gpg, for use where no roster and key folder are needed.
 * @throws TrustError if gpg has no such key
 */
export async function exportKeyringFromGpg(fingerprint: Fingerprint, home?: string): Promise<Keyring> {
  const command = [...homeArguments(home), "--batch", "--no-armor", "--export", fingerprint];
  logCommand("gpg", command);
  const gpg = spawn("gpg", command, {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const failed = new Promise<never>((_, reject) => {
    gpg.once("error", (error) => reject(new TrustError(describeMissingGpg(error))));
  });
  const bytes = await Promise.race([readAll(gpg.stdout), failed]);
  if (bytes.length === 0) {
    throw new TrustError(`gpg has no key ${fingerprint}; those it has: gpg --list-secret-keys`);
  }
  return Keyring.of(await readKeys({ binaryKeys: bytes }));
}

/** Verifies a new signature as strictly as everyone else will. */
async function requireOwnSignature(
  signed: Uint8Array,
  payload: Uint8Array,
  fingerprint: Fingerprint,
  keyring: Keyring,
): Promise<Uint8Array> {
  try {
    const verified = await verifySignedMessage(signed, keyring);
    if (verified.fingerprint !== fingerprint) throw new Error(`it is by ${verified.fingerprint}`);
    if (Buffer.compare(verified.content, payload) !== 0) throw new Error("it is over other bytes");
  } catch (error) {
    throw new TrustError(
      `the signature that was just made by ${fingerprint} would not count: ${(error as Error).message}`,
    );
  }
  return signed;
}

async function parsePrivateKey(bytes: Buffer, file: string): Promise<PrivateKey> {
  try {
    const isBinary = ((bytes[0] ?? 0) & 0x80) !== 0;
    return await (isBinary
      ? readPrivateKey({ binaryKey: bytes })
      : readPrivateKey({ armoredKey: bytes.toString("utf8") }));
  } catch (error) {
    // After the colon openpgp.js may quote the file.
    throw new TrustError(`no private key in ${file}: ${(error as Error).message.split(":", 1)[0]}`);
  }
}

function homeArguments(home: string | undefined): string[] {
  return home === undefined ? [] : ["--homedir", home];
}

function describeMissingGpg(error: Error): string {
  return `gpg does not run: ${error.message}; is it installed? apt-get install gpg`;
}

function gpgArguments(fingerprint: Fingerprint, home: string | undefined): string[] {
  return [
    ...homeArguments(home),
    "--batch",
    "--no-tty",
    "--status-fd=3",
    // Whatever gpg.conf has: a binary message over binary data, which podman reads and which does not expire.
    "--no-armor",
    "--no-textmode",
    "--digest-algo=SHA512",
    "--compress-algo=none",
    "--default-sig-expire=0",
    "--no-ask-sig-expire",
    // "!": this key, and not a newer subkey that gpg would rather take.
    `--local-user=${fingerprint}!`,
    "--sign",
  ];
}

async function signWithGpg(
  fingerprint: Fingerprint,
  payload: Uint8Array,
  { onProgress, signal }: SigningOptions,
  home: string | undefined,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const command = gpgArguments(fingerprint, home);
  logCommand("gpg", command);
  const gpg = spawn("gpg", command, {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    ...(signal === undefined ? {} : { signal }),
  });
  let failure: Error | undefined;
  gpg.once("error", (error) => {
    failure = error;
  });
  const ended = new Promise<number | null>((resolve) => {
    gpg.once("close", resolve);
  });
  gpg.stdin.on("error", () => {}); // gpg has ended early: its exit code and its stderr have the reason.
  gpg.stdin.end(payload);
  const status = gpg.stdio[3] as Readable;
  const [signed, words, { keywords, failed }, code] = await Promise.all([
    readAll(gpg.stdout),
    readAll(gpg.stderr),
    readStatus(status, onProgress),
    ended,
  ]);
  if (signal?.aborted) throw interruption(signal, fingerprint);
  if (failure) throw new TrustError(describeMissingGpg(failure));
  if (code === 0 && keywords.includes("SIG_CREATED")) return signed;
  if (failed !== undefined && refusals.has(failed)) {
    throw new SigningCancelledError(
      `the PIN or passphrase for ${fingerprint} was not given (pinentry was cancelled), so nothing more is signed; run the same command again to be asked again`,
    );
  }
  const fix = fixes[failed ?? 0] ?? `try: gpg --local-user ${fingerprint}! --sign`;
  const said = words.toString("utf8").trim() || `it ended with ${code}`;
  throw new TrustError(`gpg did not sign with ${fingerprint}: ${said}; ${fix}`);
}

function interruption(signal: AbortSignal, fingerprint: Fingerprint): unknown {
  const isLate = signal.reason instanceof DOMException && signal.reason.name === "TimeoutError";
  if (!isLate) return signal.reason;
  return new TrustError(
    `gpg waited too long for the PIN of ${fingerprint}, or for its key to be touched; run the same command again, and watch the key`,
  );
}

/** Codes of libgpg-error (err-codes.h.in), the lower 16 bits of what gpg reports as FAILURE. */
const refusals: ReadonlySet<number> = new Set([99 /* canceled */, 198 /* fully canceled */]);
const noPinentry =
  "no pinentry can ask for the PIN: install one (apt-get install pinentry-curses), and export GPG_TTY=$(tty)";
const fixes: Readonly<Record<number, string>> = {
  11: "the passphrase was wrong: run the same command again",
  17: "the secret key is not here: insert its card, or sign on the machine that has it: stagex sign export",
  62: "no one answered in time: run the same command again",
  77: "gpg-agent does not run: gpgconf --launch gpg-agent",
  85: noPinentry,
  86: noPinentry,
  87: "the PIN was wrong: see how many tries are left with gpg --card-status",
  112: "insert the card, and run the same command again",
};

async function readAll(stream: Readable): Promise<Buffer> {
  return Buffer.concat(await stream.toArray());
}

/** Reads the keywords that gpg reports (GnuPG, doc/DETAILS, "Format of the --status-fd output"). */
async function readStatus(
  stream: Readable,
  onProgress: SigningProgress | undefined,
): Promise<{ readonly keywords: readonly string[]; readonly failed: number | undefined }> {
  const keywords: string[] = [];
  let failed: number | undefined;
  let rest = "";
  for await (const chunk of stream.setEncoding("utf8")) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, keyword = "", , code = ""] = line.split(" ");
      keywords.push(keyword);
      if (keyword === "FAILURE") failed ??= Number(code) & 0xffff;
      const words = progressTexts[keyword];
      if (words !== undefined) onProgress?.(words);
    }
  }
  return { keywords, failed };
}

const progressTexts: Readonly<Record<string, string>> = {
  PINENTRY_LAUNCHED: "enter the PIN or passphrase",
  CARDCTRL: "see to the smart card",
  BEGIN_SIGNING: "touch your key",
  SIG_CREATED: "signed",
};
