import { execFile } from "node:child_process";
import { access, constants, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { parseVersion, type Version } from "./version.ts";

/** Whether the path is a file that this user may run. */
export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/**
 * Finds the first program of that name on the environment's PATH, or null. Ignores relative entries
 * of PATH.
 */
export async function findExecutable(
  name: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<string | null> {
  for (const folder of (environment.PATH ?? "").split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const path = join(folder, name);
    if (await isExecutable(path)) return path;
  }
  return null;
}

/** How long a program may take to print its version, in milliseconds. */
const versionTimeout = 20_000;

/**
 * Asks a program for its version; returns null where it prints none, fails, or takes longer than 20
 * s.
 */
export async function queryVersion(
  path: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Version | null> {
  try {
    const { stdout } = await promisify(execFile)(path, [...args], {
      timeout: versionTimeout,
      env: { ...environment, LC_ALL: "C", PULUMI_SKIP_UPDATE_CHECK: "true" },
    });
    return parseVersion(stdout);
  } catch {
    return null;
  }
}
