import { createDecipheriv, pbkdf2 } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** Which stack of which project. */
export type StackPlace = { readonly project: string; readonly stack: string };

/**
 * Refuses a stack whose secrets anybody can read who has its state: one that is encrypted with the empty passphrase. That is what a stack
 * without secrets gets, so that nobody has to set one up; a fleet's state has the key of its authority.
 *
 * A stack that a service of keys encrypts (`secretsprovider`) has no passphrase, and passes.
 *
 * @param environment where the engine looks for the passphrase
 * @throws where the passphrase is empty, with what to do
 */
export async function refuseEmptyPassphrase(
  { project, stack }: StackPlace,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const settings = await readFile(join(project, `Pulumi.${stack}.yaml`), "utf8").catch(() => "");
  const provider = settingOf(settings, "secretsprovider");
  if (provider !== undefined && !["passphrase", "default"].includes(provider)) return;
  const told = await toldPassphrase(environment);
  // Told nothing, the engine asked at the terminal, and may have been answered with nothing.
  const isEmpty = told === undefined ? await opens("", settingOf(settings, "encryptionsalt")) : told === "";
  if (!isEmpty) return;
  throw new Error(
    `stack ${stack} is encrypted with the empty passphrase, and the keys of a fleet are kept in its state: whoever reads that could build as the fleet does. ` +
      "Nothing was made. Give it a passphrase, and the same in every shell that works on it:\n" +
      `  pulumi stack change-secrets-provider passphrase --stack ${stack}    # asks for it\n` +
      "  export PULUMI_CONFIG_PASSPHRASE=…\n" +
      "or set that variable before the stack is made (pulumi stack init).",
  );
}

/** A value that the engine wrote on one line of a stack's settings. */
function settingOf(settings: string, key: string): string | undefined {
  const line = settings.split("\n").find((text) => text.startsWith(`${key}:`));
  return line === undefined ? undefined : /^ *["']?([^"'\s]+)/.exec(line.slice(key.length + 1))?.[1];
}

/** The passphrase that the engine takes from its environment, and in its order; undefined where it asks. */
async function toldPassphrase({
  PULUMI_CONFIG_PASSPHRASE: passphrase,
  PULUMI_CONFIG_PASSPHRASE_FILE: file,
}: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (passphrase !== undefined || !file) return passphrase;
  return (await readFile(file, "utf8")).trim();
}

/**
 * Whether a passphrase opens the engine's proof of it, `v1:<salt>:v1:<nonce>:<sealed>` in base64 (pulumi/pulumi: `passphrase.manager`,
 * `config.crypt`: PBKDF2 with SHA-256, AES-256-GCM). Another version of it is opened by none.
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
