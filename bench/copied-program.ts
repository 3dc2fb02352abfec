import { cp, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "../lib/paths.ts";

const parts =
  "Pulumi.yaml package.json index.ts stacks components providers pipeline config pulumi-workarounds distro trust sources oci buildkit tools lib";

/**
 * Copies this checkout's program and provider to a new folder: a project with stacks, store and
 * ledger of its own.
 */
export async function copyProgram(folder: string): Promise<void> {
  await mkdir(folder);
  for (const part of parts.split(" "))
    await cp(join(projectRoot, part), join(folder, part), { recursive: true });
  await symlink(join(projectRoot, "node_modules"), join(folder, "node_modules"));
  await mkdir(join(folder, ".stagex/pulumi"), { recursive: true });
}
