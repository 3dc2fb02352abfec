import { createDecipheriv, pbkdf2 } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** A stack of a project. */
export type StackPlace = { readonly project: string; readonly stack: string };

/**
 * Refuses a stack with the empty passphrase: anyone with its state can read its secrets. Stacks
 * without secrets get it, so that users need not set one up; but a fleet's state has the key of its
 * authority.
 *
 * A stack that a key service encrypts (`secretsprovider`) has no passphrase, and is accepted.
 *
 * @param environment in which the engine looks for the passphrase
 * @throws Error if the passphrase is empty, with the commands that set one
 */
export async function refuseEmptyPassphrase(
  { project, stack }: StackPlace,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const settings = await readFile(join(project, `Pulumi.${stack}.yaml`), "utf8").catch(() => "");
  const provider = settingOf(settings, "secretsprovider");
  if (provider !== undefined && !["passphrase", "default"].includes(provider)) return;
  const passphrase = await environmentPassphrase(environment);
  // Without one in the environment, the engine asked at the terminal, and the answer may have been
  // empty.
  const isEmpty =
    passphrase === undefined ? await opens("", settingOf(settings, "encryptionsalt")) : passphrase === "";
  if (!isEmpty) return;
  throw new Error(
    `stack ${stack} is encrypted with the empty passphrase, and its state has the keys of a fleet: whoever reads it could build as the fleet does. ` +
      "Nothing was made. Give it a passphrase, and set the same in every shell that works on it:\n" +
      `  pulumi stack change-secrets-provider passphrase --stack ${stack}    # asks for it\n` +
      "  export PULUMI_CONFIG_PASSPHRASE=…\n" +
      "or set that variable before the stack is created (pulumi stack init).",
  );
}

/** Returns a value that the engine wrote on one line of a stack's settings. */
function settingOf(settings: string, key: string): string | undefined {
  const line = settings.split("\n").find((text) => text.startsWith(`${key}:`));
  return line === undefined ? undefined : /^ *["']?([^"'\s]+)/.exec(line.slice(key.length + 1))?.[1];
}

/**
 * Returns the passphrase that the engine takes from its environment, in its order; undefined if it
 * asks for one.
 */
async function environmentPassphrase({
  PULUMI_CONFIG_PASSPHRASE: passphrase,
  PULUMI_CONFIG_PASSPHRASE_FILE: file,
}: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (passphrase !== undefined || !file) return passphrase;
  return (await readFile(file, "utf8")).trim();
}

/**
 * Reports whether a passphrase opens the engine's proof of it, `v1:<salt>:v1:<nonce>:<sealed>` in
 * base64 (pulumi/pulumi: `passphrase.manager`, `config.crypt`: PBKDF2 with SHA-256, AES-256-GCM).
 * No passphrase opens another version of the proof.
 */
async function opens(passphrase: string, proof = ""): Promise<boolean> {
  const [version, salt = "", inner, nonce = "", sealed = ""] = proof.split(":");
  const bytes = Buffer.from(sealed, "base64");
  if (version !== "v1" || inner !== "v1" || bytes.length < tagBytes) return false;
  const key = await promisify(pbkdf2)(passphrase, Buffer.from(salt, "base64"), rounds, 32, "sha256");
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  decipher.update(bytes.subarray(0, -tagBytes));
  try {
    decipher.final();
    return true;
  } catch {
    return false;
  }
}

const rounds = 1_000_000;
const tagBytes = 16;
