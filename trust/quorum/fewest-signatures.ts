import type { CpuVendor } from "../cpu-vendor.ts";

/** A person who has signed, or could sign. */
export type PotentialSigner = {
  /** True if a signature of theirs counts already. */
  readonly hasSigned: boolean;
  /** The vendors that their signatures stand for already. */
  readonly standsFor: readonly CpuVendor[];
  /** The vendors that one more signature could stand for. */
  readonly couldStandFor: readonly CpuVendor[];
};

/**
 * Counts the fewest new signatures with which so many new people have signed, and different people
 * stand for so many vendors. It is a flow of least cost from people to vendors: the new people have
 * to sign anyway, so that many of them are free, and each signature beyond costs one.
 * @returns infinity where no number of signatures suffices
 */
export function fewestSignatures(
  people: readonly PotentialSigner[],
  newPeople: number,
  vendors: number,
): number {
  if (people.filter(({ hasSigned }) => !hasSigned).length < newPeople) return Number.POSITIVE_INFINITY;
  const flow = new Flow();
  const [source, fresh, sink] = [flow.node(), flow.node(), flow.node()];
  flow.edge(source, fresh, newPeople, 0);
  flow.edge(source, fresh, vendors, 1);
  const places = new Map<CpuVendor, number>();
  const placeOf = (vendor: CpuVendor): number => {
    const known = places.get(vendor);
    if (known !== undefined) return known;
    const place = flow.node();
    places.set(vendor, place);
    flow.edge(place, sink, 1, 0);
    return place;
  };
  for (const { hasSigned, standsFor, couldStandFor } of people) {
    const one = flow.node();
    flow.edge(hasSigned ? source : fresh, one, 1, 0);
    for (const vendor of standsFor) flow.edge(one, placeOf(vendor), 1, 0);
    for (const vendor of couldStandFor) flow.edge(one, placeOf(vendor), 1, hasSigned ? 1 : 0);
  }
  let cost = newPeople;
  for (let stoodFor = 0; stoodFor < vendors; stoodFor++) cost += flow.augment(source, sink);
  return cost;
}

/** Keeps, of people who are alike, only as many as can make a difference. */
export function fewOfEachKind(people: readonly PotentialSigner[], most: number): PotentialSigner[] {
  const kinds = new Map<string, number>();
  return people.filter((one) => {
    const kind = JSON.stringify(one);
    const count = (kinds.get(kind) ?? 0) + 1;
    kinds.set(kind, count);
    return count <= most;
  });
}

/** An edge with its remaining capacity. The edge that takes it back is beside it. */
type Edge = { readonly to: number; readonly cost: number; left: number };

/**
 * A network of integer capacities and costs: successive shortest paths, found by Bellman and Ford's
 * algorithm.
 */
class Flow {
  readonly #edges: Edge[] = [];
  readonly #from: number[][] = [];

  node(): number {
    return this.#from.push([]) - 1;
  }

  edge(from: number, to: number, capacity: number, cost: number): void {
    this.#from[from]?.push(this.#edges.push({ to, cost, left: capacity }) - 1);
    this.#from[to]?.push(this.#edges.push({ to: from, cost: -cost, left: 0 }) - 1);
  }

  /** Sends one unit more. Returns its cost, or infinity if there is no path. */
  augment(source: number, sink: number): number {
    const costs = new Map([[source, 0]]);
    const cameBy = new Map<number, number>();
    const pending = new Set([source]);
    for (const at of pending) {
      pending.delete(at);
      for (const number of this.#from[at] ?? []) {
        const edge = this.#edges[number];
        if (edge === undefined || edge.left === 0) continue;
        const cost = (costs.get(at) ?? 0) + edge.cost;
        if (cost >= (costs.get(edge.to) ?? Number.POSITIVE_INFINITY)) continue;
        costs.set(edge.to, cost);
        cameBy.set(edge.to, number);
        pending.add(edge.to);
      }
    }
    if (!costs.has(sink)) return Number.POSITIVE_INFINITY;
    for (let at = sink; at !== source; ) {
      const number = cameBy.get(at) ?? 0;
      const [edge, back] = [this.#edges[number], this.#edges[number ^ 1]];
      if (edge === undefined || back === undefined) break;
      edge.left -= 1;
      back.left += 1;
      at = back.to;
    }
    return costs.get(sink) ?? Number.POSITIVE_INFINITY;
  }
}
