import type { BuildPlan } from "../../distro/build-plan.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { inputKeyIfKnown, lookUpOwnFirst, predictDigests } from "../../distro/plan/predict-digests.ts";
import type { Tree } from "../../distro/tree/tree.ts";
import { pathsOf } from "../../lib/paths.ts";
import type { FetchAnswer } from "../../sources/recording/fetch-record.ts";
import { FetchRecordStore } from "../../sources/recording/fetch-record-store.ts";
import type { WantedSource } from "../../sources/wanted-source.ts";

/** The files that images fetch in a RUN, according to their fetch records. */
export type RecordedFetches = {
  /** The bodies from which their builds are replayed. */
  readonly wanted: readonly WantedSource[];
  /** The images that fetch, and whose inputs have no record: the next build makes one. */
  readonly unrecorded: readonly string[];
};

/** Looks up the fetch records of the images that fetch, in the ledgers of this checkout. */
export async function findRecordedFetches(tree: Tree, plans: readonly BuildPlan[]): Promise<RecordedFetches> {
  const fetching = plans.filter(({ fetchers }) => fetchers.length > 0);
  const wanted = new Map<string, WantedSource>();
  const unrecorded: string[] = [];
  if (fetching.length === 0) return { wanted: [], unrecorded };
  const paths = pathsOf();
  const [built, ledger] = [new Ledger(paths.built), new Ledger(paths.ledger)];
  const known = await predictDigests(tree.images, (key) => lookUpOwnFirst({ built, ledger }, key));
  for (const plan of fetching) {
    const key = inputKeyIfKnown(plan, known);
    const own = key && (await new FetchRecordStore(built.root).find(key));
    const found = own ?? (key && (await new FetchRecordStore(ledger.root).find(key)));
    if (found === undefined) unrecorded.push(plan.name);
    // Others can write any URL into a ledger, so it is not requested. For their records, only the
    // vault gives the bodies.
    const mirrorsOf = own === undefined ? () => [] : mirrorsOfPlain;
    for (const answer of found?.record.answers ?? []) {
      if (answer.sha256 === null) continue;
      const earlier = wanted.get(answer.sha256);
      const images = [...new Set([...(earlier?.images ?? []), plan.name])];
      const mirrors = [...new Set([...(earlier?.mirrors ?? []), ...mirrorsOf(answer)])];
      wanted.set(answer.sha256, { ...sourceOf(answer, answer.sha256), ...earlier, images, mirrors });
    }
  }
  return { wanted: [...wanted.values()], unrecorded };
}

function sourceOf({ url }: FetchAnswer, sha256: string): WantedSource {
  const name =
    URL.parse(url)
      ?.pathname.split("/")
      .at(-1)
      ?.replace(/[^\w.-]/g, "_") ?? "";
  const file = /^\.*$/.test(name) ? sha256 : name;
  return { name: url, file, sha256, mirrors: [], images: [], archives: [] };
}

/** Returns the URL of a plain GET, which can be repeated: the hash guards the bytes. */
function mirrorsOfPlain({ method, url, status, accept, headers }: FetchAnswer): string[] {
  const isPlain = method === "GET" && status === 200 && accept === undefined;
  return isPlain && headers["content-encoding"] === undefined ? [url] : [];
}
