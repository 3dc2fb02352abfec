import { readFileSync } from "node:fs";
import { join } from "node:path";
import { output, secret } from "@pulumi/pulumi";
import type { ConfiguredBuilder } from "../../config/builders.ts";
import type { DeclaredBuilder } from "./builders.ts";

/**
 * Returns the machines that `stagex:builders` lists, with their credentials.
 * @param project the folder that the files of credentials are relative to
 * @throws Error if such a file cannot be read
 */
export function staticFleet(builders: readonly ConfiguredBuilder[], project: string): DeclaredBuilder[] {
  return builders.map(({ name, address, platforms, slots, memory, vendor, wait, tls }) => ({
    ...{ name, address: output(address), platforms, slots, vendor, wait },
    memory: memory === undefined ? undefined : memory * 2 ** 30,
    ...(tls ? { tls: clientTls(name, tls, project) } : {}),
  }));
}

function clientTls(
  builder: string,
  { ca, cert, key, serverName }: NonNullable<ConfiguredBuilder["tls"]>,
  project: string,
): NonNullable<DeclaredBuilder["tls"]> {
  const read = (file: string): string => {
    try {
      return readFileSync(join(project, file), "utf8");
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`stagex:builders: the credentials of ${builder} cannot be read: ${reason}`);
    }
  };
  return { ca: output(read(ca)), certificate: output(read(cert)), key: secret(read(key)), serverName };
}
