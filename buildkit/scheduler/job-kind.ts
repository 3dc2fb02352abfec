import TinyQueue from "tinyqueue";
import type { BuilderState } from "./builder-state.ts";
import type { Job } from "./job.ts";
import { matchPlatforms, type PlatformMatch } from "./platform-match.ts";
import type { QueuedJob } from "./queued-job.ts";

/**
 * Jobs that the same builders can take: those of the same platforms, memory and allowed builders.
 */
export class JobKind<Queued extends QueuedJob> {
  readonly isExclusive: boolean;
  readonly queue: TinyQueue<Queued>;
  /** The time since which memory has been lacking, where it is. */
  lackingSince: number | undefined;
  readonly #builders: readonly BuilderState[];

  constructor(
    job: Job,
    isExclusive: boolean,
    builders: readonly BuilderState[],
    compare: (a: Queued, b: Queued) => number,
  ) {
    const allowed = builders.filter(({ name }) => job.allowedBuilders?.includes(name) ?? true);
    const matching = (match: PlatformMatch) =>
      allowed.filter(({ builder }) => matchPlatforms(builder.platforms, job.platforms) === match);
    const native = matching("native");
    // Emulators are many times slower: they are for fleets without a machine of that platform.
    const capable = native.length > 0 ? native : matching("emulated");
    const large = capable.filter((builder) => builder.couldHold(job));
    this.#builders = large.length > 0 ? large : withMostMemory(capable);
    this.isExclusive = isExclusive;
    this.queue = new TinyQueue([], compare);
  }

  /** The builders that it may go to, lost ones included. */
  get builders(): readonly BuilderState[] {
    if (!this.isExclusive) return this.#builders;
    const living = this.#builders.filter(({ lost }) => lost === undefined);
    return living.length > 0 ? withMostMemory(living) : this.#builders;
  }

  /** The first in the queue. */
  get head(): Queued | undefined {
    for (;;) {
      const head = this.queue.peek();
      if (head?.isQueued !== false) return head;
      this.queue.pop();
    }
  }
}

/**
 * Selects those that have more memory than the others. A builder of unknown memory counts as the
 * smallest.
 */
function withMostMemory(builders: readonly BuilderState[]): readonly BuilderState[] {
  const most = Math.max(0, ...builders.map(({ builder }) => builder.memory ?? 0));
  return builders.filter(({ builder }) => (builder.memory ?? 0) === most);
}
