import { constants } from "node:fs";
import { chmod, copyFile, link, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/**
 * The file that has a stack's state. The engine replaces it as a whole, but where the disk is full it puts what it could still write in
 * its place (gocloud.dev's `Bucket.WriteAll` closes, and so commits, what failed to be written), and then no command of it loads the
 * stack. Its own backup, `.bak`, is of no help where that could not be written either. So a second name for the state is kept from
 * before each run: it takes no room, for the engine puts a new file in the state's place and never writes into the old one.
 */
export class StateBackup {
  readonly path: string;

  /** @param path `<backend>/.pulumi/stacks/<project>/<stack>.json` */
  constructor(path: string) {
    this.path = path;
  }

  /** The state of a stack in a file backend; undefined where there is none yet, or where it is compressed. */
  static async find(backend: string, stack: string): Promise<StateBackup | undefined> {
    const stacks = join(backend, ".pulumi", "stacks");
    const files = await readdir(stacks, { recursive: true }).catch(() => []);
    const file = files.find((name) => name === `${stack}.json` || name.endsWith(`/${stack}.json`));
    return file === undefined ? undefined : new StateBackup(join(stacks, file));
  }

  /** What `keep` keeps. */
  get #kept(): string {
    return `${this.path}.before`;
  }

  /** Closes the state to other users, and keeps it as it is, if it is whole, for `mend` to find. Nothing that fails here stands in the way of a run. */
  async backUp(): Promise<void> {
    // The engine makes them for all to read (gocloud.dev's fileblob: 0666 but for the umask).
    for (const path of [this.path, `${this.path}.bak`]) await chmod(path, 0o600).catch(() => undefined);
    if (!(await isWhole(this.path))) return;
    await rm(this.#kept, { force: true }).catch(() => undefined);
    await link(this.path, this.#kept)
      .catch(() => copyFile(this.path, this.#kept, constants.COPYFILE_FICLONE))
      .catch(() => undefined);
  }

  /**
   * Where the state is cut off, puts the youngest whole one before it in its place; what was there is kept as `.damaged`.
   * For no engine's time but between two: the one at work may be about to write again.
   *
   * @returns when the state that is there now was written; undefined where nothing was to be mended, or there is nothing to do it with
   */
  async restore(): Promise<Date | undefined> {
    if (await isWhole(this.path)) return undefined;
    const found = [];
    for (const path of [`${this.path}.bak`, this.#kept])
      if (await isWhole(path)) found.push({ path, written: (await stat(path)).mtime });
    const [youngest] = found.sort((one, other) => other.written.getTime() - one.written.getTime());
    if (youngest === undefined) return undefined;
    await rename(this.path, `${this.path}.damaged`);
    // A link, for the one it is taken from stays a backup; renaming is what a file system without links can do.
    await link(youngest.path, this.path).catch(() => rename(youngest.path, this.path));
    return youngest.written;
  }
}

/** Whether a file is JSON to its end. */
async function isWhole(path: string): Promise<boolean> {
  try {
    JSON.parse(await readFile(path, "utf8"));
    return true;
  } catch {
    return false;
  }
}
