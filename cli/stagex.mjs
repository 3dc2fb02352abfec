/**
 * What the launcher and tools/bootstrap.mjs run: switches on the compile cache, then loads the command. Modules that are in the cache are
 * neither stripped of their types nor compiled again, which halves the time that a short command takes. This file is JavaScript, since
 * Node would load its TypeScript parser for it alone.
 */
import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { enableCompileCache, registerHooks } from "node:module";
import { join } from "node:path";

const cache = join(import.meta.dirname, "../node_modules/.cache/stagex");
/** Permissions of a folder that its owner alone enters. */
const ownerAlone = 0o700;

/** Makes a folder in which nobody writes but this user or the owner of this program: what is in the cache is run. */
function makeOwn(folder) {
  try {
    const found = lstatSync(folder, { throwIfNoEntry: false });
    // What others could write to is not kept.
    if (found !== undefined && (found.mode & 0o777) !== ownerAlone) rmSync(folder, { recursive: true });
    mkdirSync(folder, { recursive: true, mode: ownerAlone });
    const stats = lstatSync(folder);
    const owners = [process.geteuid(), lstatSync(import.meta.filename).uid];
    return stats.isDirectory() && (stats.mode & 0o777) === ownerAlone && owners.includes(stats.uid);
  } catch {
    // On a disk that can't be written, or installed by another user: it works without.
    return false;
  }
}

if (makeOwn(cache)) enableCompileCache(cache);

// zod loads its words in sixty languages, of which we use English: a tenth of a short command's time (`locales` of zod/v4/core and of
// zod/v4/classic).
const zod = /\/zod\/v4\/[a-z]+\/[a-z]+\.js$/;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "../locales/index.js" && zod.test(context.parentURL ?? "")
      ? next("../locales/en.js", context)
      : next(specifier, context),
});

await import("./stagex.ts");
