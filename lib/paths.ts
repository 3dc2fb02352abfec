import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of this checkout, which has Pulumi.yaml in it. */
export const projectRoot: string = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The paths of everything that is kept: a user's caches, which can be made again, and a checkout's
 * state.
 */
export type Paths = {
  /** The checkout. */
  readonly project: string;

  /**
   * The user's caches, made again when lost: `$STAGEX_CACHE`, else `$XDG_CACHE_HOME/stagex`, else
   * `~/.cache/stagex`.
   */
  readonly cache: string;
  /** Built tools, one folder for each tool, version and way of building. */
  readonly tools: string;
  /** Sources by their sha256. */
  readonly sources: string;
  /** Trees checked out from a git address. */
  readonly trees: string;

  /** Pulumi's file backend, `.stagex/pulumi`; Pulumi.yaml names it too. */
  readonly backend: string;
  /** `.stagex/`, this checkout's own, or `$STAGEX_STATE`: never committed. */
  readonly state: string;
  /** The content-addressed store of built images. */
  readonly store: string;
  /** The ledger: which outputs were built from which inputs, and by whom. */
  readonly ledger: string;
  /**
   * The ledger of this state folder's own builds, which may be attested. Records of others are
   * never added.
   */
  readonly built: string;
  /**
   * The ledger of images taken from elsewhere under `stagex:substituteTrust quorum`, which had a quorum then.
   * Records of others are never added.
   */
  readonly agreed: string;
  /** Results of earlier previews, with the stamps of the files that they come from. */
  readonly previewCache: string;
  /** The forecast of the last preview, as JSON. */
  readonly forecast: string;
  /**
   * Temporary folders of builds, on the store's file system, so that files are linked and not
   * copied.
   */
  readonly scratch: string;
  /** Build and daemon logs. */
  readonly logs: string;
  /**
   * The private BuildKit daemon's state. Its socket is in a run folder of the user's: sockets need
   * short paths.
   */
  readonly buildkit: string;

  /**
   * `out/<image>/`, laid out as StageX's own scripts expect it; below `$STAGEX_STATE` where that is
   * set.
   */
  readonly out: string;
};

/**
 * Returns the paths of a checkout. Witnesses on one machine each set STAGEX_STATE to a folder of
 * their own: they share the stacks, but neither store nor ledger nor BuildKit's cache.
 *
 * @param project the checkout's folder, this one by default
 * @param environment has STAGEX_CACHE, XDG_CACHE_HOME, HOME and STAGEX_STATE (relative to the
 * project)
 */
export function pathsOf(project: string = projectRoot, environment: NodeJS.ProcessEnv = process.env): Paths {
  const cache = resolve(
    environment.STAGEX_CACHE ||
      join(environment.XDG_CACHE_HOME || join(environment.HOME || homedir(), ".cache"), "stagex"),
  );
  const own = join(project, ".stagex");
  const state = environment.STAGEX_STATE ? resolve(project, environment.STAGEX_STATE) : own;
  return {
    project,
    cache,
    tools: join(cache, "tools"),
    sources: join(cache, "sources"),
    trees: join(cache, "trees"),
    backend: join(own, "pulumi"),
    state,
    store: join(state, "store"),
    ledger: join(state, "ledger"),
    built: join(state, "built"),
    agreed: join(state, "agreed"),
    previewCache: join(state, "recollection.json"),
    forecast: join(state, "forecast.json"),
    scratch: join(state, "scratch"),
    logs: join(state, "logs"),
    buildkit: join(state, "buildkit"),
    out: join(state === own ? project : state, "out"),
  };
}
