import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** This checkout: the folder that holds Pulumi.yaml. */
export const projectRoot: string = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where everything is kept: what is for one user and may be thrown away, and what belongs to one checkout. */
export type Paths = {
  /** The checkout. */
  readonly project: string;

  /** Per user, made again when lost: `$STAGEX_CACHE`, else `$XDG_CACHE_HOME/stagex`, else `~/.cache/stagex`. */
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
  /** What was built from what, by whom. */
  readonly ledger: string;
  /** The same of this state folder's own builds alone, which is not for others to add to: what may be attested. */
  readonly built: string;
  /** What has been taken from elsewhere under `stagex:substituteTrust quorum`, at quorum then; not for others to add to either. */
  readonly agreed: string;
  /** What earlier previews found out, with the stamps of the files that they found it in. */
  readonly previewCache: string;
  /** What the last preview comes to, as JSON. */
  readonly forecast: string;
  /** Temporary folders of builds; on the store's file system, so that files are linked and not copied. */
  readonly scratch: string;
  /** Build and daemon logs. */
  readonly logs: string;
  /** The private BuildKit daemon's state; its socket is in a run folder of the user's, for sockets need short paths. */
  readonly buildkit: string;

  /** `out/<image>/`, laid out as StageX's own scripts expect it; below `$STAGEX_STATE` where that is set. */
  readonly out: string;
};

/**
 * The places of a checkout. Witnesses on one machine each set STAGEX_STATE to a folder of their own: they share the stacks, but neither
 * store nor ledger nor BuildKit's cache.
 *
 * @param project the checkout's folder, this one by default
 * @param environment where STAGEX_CACHE, XDG_CACHE_HOME, HOME and STAGEX_STATE (relative to the project) are looked up
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
