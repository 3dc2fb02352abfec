import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";

/** What is read of `runc features` (runtime-spec, features.md). */
const featuresSchema = z.object({
  linux: z.object({ seccomp: z.object({ enabled: z.boolean() }).optional() }).optional(),
});

/**
 * Whether a runc can filter system calls. One that can't refuses every container of BuildKit's on a kernel that could, for BuildKit
 * always asks for a filter there.
 */
export async function filtersSystemCalls(runc: string): Promise<boolean> {
  try {
    const { stdout } = await promisify(execFile)(runc, ["features"], { timeout: 20_000 });
    return featuresSchema.parse(JSON.parse(stdout)).linux?.seccomp?.enabled ?? false;
  } catch {
    return false;
  }
}
