import type { Digest } from "../../oci/digest.ts";
import type { Referrer } from "../../oci/registry/referrer.ts";
import type { Registry } from "../../oci/registry/registry.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";

/**
 * In milliseconds: each request to a registry that is down or overloaded is retried for so long.
 */
const usualEndurance = 60_000;

/** A registry to publish to. After retries in vain no image of this run asks it again. */
export class TargetRegistry {
  readonly #registry: Registry;
  readonly #retryFor: number;
  #failure: RegistryError | undefined;

  /** @param retryFor in milliseconds */
  constructor(registry: Registry, retryFor = usualEndurance) {
    this.#registry = registry;
    this.#retryFor = retryFor;
  }

  get address(): string {
    return this.#registry.address;
  }

  /** Pushes the blobs of an image that the registry lacks. */
  async push(context: Context, image: string, target: Digest, operation: Operation): Promise<void> {
    const store = await context.store();
    await context.pushLimit(async () => {
      operation.progress(`pushing to ${this.address}`);
      await this.#request(operation, (run) =>
        this.#registry.push(image, target, { store, scratch: context.paths.scratch, ...run }),
      );
    });
  }

  /**
   * Attaches referrers to an image, one after the other: a registry without the referrers API has a
   * list that is rewritten.
   */
  async attach(
    context: Context,
    image: string,
    referrers: readonly Referrer[],
    operation: Operation,
  ): Promise<void> {
    for (const referrer of referrers) {
      await context.pushLimit(async () => {
        operation.progress(`attaching to ${this.address}`);
        await this.#request(operation, (run) =>
          this.#registry.attach(image, referrer, { scratch: context.paths.scratch, ...run }),
        );
      });
    }
  }

  /** Sets a tag to a pushed digest. Returns the digest before; null for a new tag. */
  async tag(image: string, target: Digest, tag: string, operation: Operation): Promise<Digest | null> {
    const before = await this.digestOfTag(image, tag, operation);
    if (before === target) return before;
    operation.progress(`tagging ${this.address}/${image}:${tag}`);
    await this.#request(operation, ({ signal, ...run }) =>
      this.#registry.tag(image, target, tag, signal, run),
    );
    return before;
  }

  async digestOfTag(image: string, tag: string, operation: Operation): Promise<Digest | null> {
    return await this.#request(operation, ({ signal, ...run }) =>
      this.#registry.resolveTag(image, tag, signal, run),
    );
  }

  async untag(image: string, tag: string, operation: Operation): Promise<void> {
    await this.#request(operation, ({ signal, ...run }) => this.#registry.untag(image, tag, signal, run));
  }

  /** Describes the parts of an image that the registry lacks. */
  async findMissing(image: string, target: Digest, operation: Operation): Promise<string[]> {
    const damages = await this.#request(operation, (run) => this.#registry.audit(image, target, run));
    return damages.map(({ problem, digest, message }) =>
      digest === target && problem === "missing"
        ? `${this.address}/${image} does not have ${digest} any more`
        : message,
    );
  }

  async #request<Answer>(
    operation: Operation,
    ask: (run: { signal: AbortSignal; retryFor: number; onRetry: (line: string) => void }) => Promise<Answer>,
  ): Promise<Answer> {
    if (this.#failure !== undefined) {
      const { problem, message } = this.#failure;
      throw new RegistryError(
        problem,
        `${this.address} was waited for in vain, and is not asked again: ${message}`,
      );
    }
    try {
      const onRetry = (line: string): void => operation.progress(line);
      return await ask({ signal: operation.signal, retryFor: this.#retryFor, onRetry });
    } catch (error) {
      if (error instanceof RegistryError && error.isTransient) this.#failure = error;
      throw error;
    }
  }
}
