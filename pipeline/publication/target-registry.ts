import { withWorkFolder } from "../../lib/fs/temp-dir.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Referrer } from "../../oci/registry/referrer.ts";
import type { Registry } from "../../oci/registry/registry.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { Work } from "../../providers/stagex/protocol/handler.ts";
import type { Workshop } from "../context/context.ts";

/** For how long a registry that is down or overloaded is waited for, in milliseconds, at each thing that is asked of it. */
const usualEndurance = 60_000;

/** A registry that is published to. One that was waited for in vain is not waited for again, by no image of this run. */
export class Destination {
  readonly #registry: Registry;
  readonly #endurance: number;
  #givenUp: RegistryError | undefined;

  /** @param endurance in milliseconds */
  constructor(registry: Registry, endurance = usualEndurance) {
    this.#registry = registry;
    this.#endurance = endurance;
  }

  get address(): string {
    return this.#registry.address;
  }

  /** Sends what of an image the registry does not have. */
  async push(workshop: Workshop, image: string, target: Digest, work: Work): Promise<void> {
    const store = await workshop.store();
    await workshop.pushes(async () => {
      work.progress(`pushing to ${this.address}`);
      await this.#asked(work, (run) =>
        withWorkFolder(workshop.places.scratch, (scratch) =>
          this.#registry.push(image, target, { store, scratch, ...run }),
        ),
      );
    });
  }

  /** Lays beside an image what is said of it. One after the other: registries without the referrers API keep a list that is rewritten. */
  async attach(workshop: Workshop, image: string, referrers: readonly Referrer[], work: Work): Promise<void> {
    for (const referrer of referrers) {
      await workshop.pushes(async () => {
        work.progress(`attaching to ${this.address}`);
        await this.#asked(work, (run) =>
          withWorkFolder(workshop.places.scratch, (scratch) =>
            this.#registry.attach(image, referrer, { scratch, ...run }),
          ),
        );
      });
    }
  }

  /** Lets a tag point at what was pushed; says what it pointed at before, null where there was no such tag. */
  async tag(image: string, target: Digest, tag: string, work: Work): Promise<Digest | null> {
    const before = await this.tagged(image, tag, work);
    if (before === target) return before;
    work.progress(`tagging ${this.address}/${image}:${tag}`);
    await this.#asked(work, ({ signal, ...run }) => this.#registry.tag(image, target, tag, signal, run));
    return before;
  }

  async tagged(image: string, tag: string, work: Work): Promise<Digest | null> {
    return await this.#asked(work, ({ signal, ...run }) => this.#registry.tagged(image, tag, signal, run));
  }

  async untag(image: string, tag: string, work: Work): Promise<void> {
    await this.#asked(work, ({ signal, ...run }) => this.#registry.untag(image, tag, signal, run));
  }

  /** What the registry lacks of an image, in words. */
  async lacks(image: string, target: Digest, work: Work): Promise<string[]> {
    const damages = await this.#asked(work, (run) => this.#registry.audit(image, target, run));
    return damages.map(({ problem, digest, message }) =>
      digest === target && problem === "missing"
        ? `${this.address}/${image} does not have ${digest} any more`
        : message,
    );
  }

  async #asked<Answer>(
    work: Work,
    ask: (run: {
      signal: AbortSignal;
      endurance: number;
      waiting: (line: string) => void;
    }) => Promise<Answer>,
  ): Promise<Answer> {
    if (this.#givenUp !== undefined) {
      const { problem, message } = this.#givenUp;
      throw new RegistryError(
        problem,
        `${this.address} was waited for in vain, and is not asked again: ${message}`,
      );
    }
    try {
      const waiting = (line: string): void => work.progress(line);
      return await ask({ signal: work.signal, endurance: this.#endurance, waiting });
    } catch (error) {
      if (error instanceof RegistryError && error.mayPass) this.#givenUp = error;
      throw error;
    }
  }
}
