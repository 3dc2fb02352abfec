/** Bytes that came to a daemon, and the seconds in which any of them were on their way. */
export type Transfer = { readonly bytes: number; readonly seconds: number };

/** BuildKit's status of a transfer; a layer has its digest as `id`. Dates are ISO 8601. */
export type TransferStatus = {
  readonly id: string;
  readonly current: number;
  readonly started?: string | undefined;
  readonly completed?: string | undefined;
};

type Span = { readonly from: number; readonly to: number };

/** The transfers of images to the daemon in one solve, without the layers that it had already. */
export class TransferStats {
  readonly #layers = new Map<string, Span & { readonly bytes: number }>();
  readonly #documents = new Map<string, Span[]>();

  /** Adds a status; only that of a complete layer counts. */
  addStatus({ id, current, started, completed }: TransferStatus): void {
    if (!id.startsWith("sha256:") || started === undefined || completed === undefined) return;
    this.#layers.set(id, { bytes: current, from: Date.parse(started), to: Date.parse(completed) });
  }

  /** Adds a step that has ended; only the loading of a dependency's manifests and config counts. */
  addStep(name: string, started: string | undefined, completed: string): void {
    const dependency = /^\[context stagex\/([^\s:\]]+)(?:[\s:][^\]]*)?\] load metadata for /.exec(name)?.[1];
    if (dependency === undefined || started === undefined) return;
    const spans = this.#documents.get(dependency) ?? [];
    spans.push({ from: Date.parse(started), to: Date.parse(completed) });
    this.#documents.set(dependency, spans);
  }

  /** Returns the transfer of these dependencies (name -> digests of their layers). */
  totalOf(dependencies: ReadonlyMap<string, ReadonlySet<string>>): Transfer {
    const digests = new Set([...dependencies.values()].flatMap((layers) => [...layers]));
    const layers = [...this.#layers].flatMap(([digest, layer]) => (digests.has(digest) ? [layer] : []));
    const documents = [...dependencies.keys()].flatMap((name) => this.#documents.get(name) ?? []);
    const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
    return { bytes, seconds: covered([...layers, ...documents]) / 1000 };
  }
}

/** Returns the time that the spans cover together, overlaps counted once. */
function covered(spans: readonly Span[]): number {
  let [sum, end] = [0, Number.NEGATIVE_INFINITY];
  for (const { from, to } of spans.toSorted((a, b) => a.from - b.from)) {
    sum += Math.max(0, to - Math.max(from, end));
    end = Math.max(end, to);
  }
  return sum;
}
