import { constants } from "node:fs";
import { chmod, copyFile, link, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/**
 * The file with a stack's state, and a copy of it from before each run.
 *
 * The engine replaces the file as a whole. On a full disk it puts a truncated one in its place:
 * gocloud.dev's `Bucket.WriteAll` closes, and so commits, a file that it could not write. No
 * command of the engine loads such a stack. Its own backup, `.bak`, does not help if that could not
 * be written either. The copy is a second name for the old file, so it takes no room: the engine
 * never writes into an existing file.
 *
 * The engine also makes the files readable for all users, for gocloud.dev's fileblob opens them
 * with 0666 but for the umask.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/2801 has the same after failed writes to S3; a
 * full disk is not filed. https://github.com/pulumi/pulumi/issues/7002 has the permissions.
 *
 * Remove when the file backend leaves the old state in place after a failed write, and creates its
 * files with 0600.
 */
export class StateBackup {
  readonly path: string;

  /** @param path `<backend>/.pulumi/stacks/<project>/<stack>.json` */
  constructor(path: string) {
    this.path = path;
  }

  /**
   * Returns the state of a stack in a file backend; undefined if there is none yet, or if it is
   * compressed.
   */
  static async find(backend: string, stack: string): Promise<StateBackup | undefined> {
    const stacks = join(backend, ".pulumi", "stacks");
    const files = await readdir(stacks, { recursive: true }).catch(() => []);
    const file = files.find((name) => name === `${stack}.json` || name.endsWith(`/${stack}.json`));
    return file === undefined ? undefined : new StateBackup(join(stacks, file));
  }

  /** The path of the copy. */
  get #copy(): string {
    return `${this.path}.before`;
  }

  /**
   * Makes the state private, and keeps a copy of it if it is whole. A failure here stops no run.
   */
  async backUp(): Promise<void> {
    for (const path of [this.path, `${this.path}.bak`]) await chmod(path, 0o600).catch(() => undefined);
    if (!(await isWhole(this.path))) return;
    await rm(this.#copy, { force: true }).catch(() => undefined);
    await link(this.path, this.#copy)
      .catch(() => copyFile(this.path, this.#copy, constants.COPYFILE_FICLONE))
      .catch(() => undefined);
  }

  /**
   * Replaces a truncated state by the youngest whole one, and keeps the truncated one as
   * `.damaged`. Call it between two engines: one at work may be about to write again.
   *
   * @returns when the restored state was written; undefined if the state is whole, or if no other
   *   is
   */
  async restore(): Promise<Date | undefined> {
    if (await isWhole(this.path)) return undefined;
    const found = [];
    for (const path of [`${this.path}.bak`, this.#copy])
      if (await isWhole(path)) found.push({ path, written: (await stat(path)).mtime });
    const [youngest] = found.sort((one, other) => other.written.getTime() - one.written.getTime());
    if (youngest === undefined) return undefined;
    await rename(this.path, `${this.path}.damaged`);
    // A link keeps the backup; a file system without links can rename.
    await link(youngest.path, this.path).catch(() => rename(youngest.path, this.path));
    return youngest.written;
  }
}

/** Checks that a file is JSON to its end. */
async function isWhole(path: string): Promise<boolean> {
  try {
    JSON.parse(await readFile(path, "utf8"));
    return true;
  } catch {
    return false;
  }
}
