/**
 * Entry of the launcher and of tools/bootstrap.mjs: switches on the compile cache, then loads the
 * command. Node neither strips the types of cached modules nor compiles them again, which halves
 * the time of a short command. This file is JavaScript, since Node would load its TypeScript parser
 * for it alone.
 */
import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { enableCompileCache, registerHooks } from "node:module";
import { join } from "node:path";

const cache = join(import.meta.dirname, "../node_modules/.cache/stagex");
/** Permissions of a folder that only its owner may enter. */
const ownerAlone = 0o700;

/**
 * Creates a folder in which only this user, or the owner of this program, writes: the cache holds
 * code that is run.
 */
function makeOwn(folder) {
  try {
    const found = lstatSync(folder, { throwIfNoEntry: false });
    // Others could have written to it.
    if (found !== undefined && (found.mode & 0o777) !== ownerAlone) rmSync(folder, { recursive: true });
    mkdirSync(folder, { recursive: true, mode: ownerAlone });
    const stats = lstatSync(folder);
    const owners = [process.geteuid(), lstatSync(import.meta.filename).uid];
    return stats.isDirectory() && (stats.mode & 0o777) === ownerAlone && owners.includes(stats.uid);
  } catch {
    // The disk is read-only, or another user has installed this: the command works without a cache.
    return false;
  }
}

if (makeOwn(cache)) enableCompileCache(cache);

// zod loads its messages in sixty languages, of which this project uses English: a tenth of a short
// command's time (`locales` of zod/v4/core and of zod/v4/classic).
const zod = /\/zod\/v4\/[a-z]+\/[a-z]+\.js$/;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "../locales/index.js" && zod.test(context.parentURL ?? "")
      ? next("../locales/en.js", context)
      : next(specifier, context),
});

await import("./stagex.ts");
