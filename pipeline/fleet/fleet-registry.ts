import { setTimeout as sleep } from "node:timers/promises";
import type { LimitFunction } from "p-limit";
import type { SolveResult } from "../../buildkit/client/solve.ts";
import { RouteSelector } from "../../buildkit/client/transfer-route.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Registry } from "../../oci/registry/registry.ts";
import { type RegistryAddress, repositoryIn } from "../../oci/registry/registry-address.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Operation } from "../operation.ts";
import type { BuilderConnection } from "./builder-connection.ts";

/** Settings of a {@link FleetRegistry}. */
export type FleetRegistryOptions = {
  readonly address: RegistryAddress;
  /** Opens the registry at the address. An error counts as a failed push. */
  readonly registry: (operation: Operation) => Promise<Registry>;
  readonly store: Store;
  readonly scratch: string;
  readonly limit: LimitFunction;
  /** Ends the pushes, which go on after the operation that began them. */
  readonly cancelled: AbortSignal;
};

/**
 * A dependency of a build: name of the image, digest of its manifest or index, and bytes of its
 * layers.
 */
export type Dependency = { readonly name: string; readonly digest: Digest; readonly bytes: number };

/** In milliseconds: the pause after a failed push. */
const pushPause = 60_000;

/**
 * In milliseconds: the longest that a build waits for dependencies that are being pushed. Later
 * ones are sent to the builder.
 */
const maxWait = 10_000;

/**
 * The registry through which the builders of a fleet get each other's images, where that is faster
 * than to send them from this machine. It is only a shortcut: builders hash what they pull, and
 * images that they can't pull are sent.
 */
export class FleetRegistry {
  readonly #options: FleetRegistryOptions;
  readonly #pushes = new Map<string, Promise<void>>();
  readonly #pushed = new Set<string>();
  readonly #routes = new Map<string, RouteSelector>();
  /** Images that each builder was given or has built in this run. */
  readonly #held = new Map<string, Set<Digest>>();
  readonly #closing = new AbortController();
  readonly #ended: AbortSignal;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(options: FleetRegistryOptions) {
    this.#options = options;
    this.#ended = AbortSignal.any([options.cancelled, this.#closing.signal]);
  }

  /**
   * Begins to push an image unless that has begun. A failure is a warning; the next call tries
   * again.
   */
  startPush(image: string, digest: Digest, operation: Operation): void {
    const key = pushKey(image, digest);
    if (this.#pushed.has(key) || this.#pushes.has(key) || Date.now() < this.#pausedUntil) return;
    const pushing = this.#options.limit(() => this.#push(image, digest, operation));
    this.#pushes.set(
      key,
      pushing.finally(() => this.#pushes.delete(key)),
    );
  }

  /**
   * Chooses the dependencies that a builder pulls for a build. Returns their repositories by name.
   */
  async repositoriesFor(
    builder: Pick<BuilderConnection, "name" | "endpoint">,
    dependencies: readonly Dependency[],
    operation: Operation,
  ): Promise<Record<string, string>> {
    if (builder.endpoint.address.startsWith("unix://")) return {};
    for (const { name, digest } of dependencies) this.startPush(name, digest, operation);
    const held = this.#heldBy(builder);
    const lacking = dependencies.reduce((sum, { digest, bytes }) => sum + (held.has(digest) ? 0 : bytes), 0);
    if (this.#routeTo(builder).choose(lacking, Date.now()) === "store") return {};
    const coming = dependencies.map(({ name, digest }) => this.#pushes.get(pushKey(name, digest)));
    await this.#wait(Promise.all(coming), operation.signal);
    return Object.fromEntries(
      dependencies.flatMap(({ name, digest }) => {
        const repository = repositoryIn(this.#options.address, name);
        return repository && this.#pushed.has(pushKey(name, digest)) ? [[name, repository]] : [];
      }),
    );
  }

  /** Notes how a builder got the dependencies of a build. */
  noteTransfers(
    builder: Pick<BuilderConnection, "name">,
    image: string,
    dependencies: readonly Dependency[],
    { transfers, unpulled }: Pick<SolveResult, "transfers" | "unpulled">,
    operation: Operation,
  ): void {
    const route = this.#routeTo(builder);
    route.noteTransfer("store", transfers.store);
    route.noteTransfer("registry", transfers.registry);
    const held = this.#heldBy(builder);
    for (const { digest } of dependencies) held.add(digest);
    if (unpulled === undefined) return;
    route.noteFailure(Date.now());
    // The registry may have lost them: the next build that needs them pushes them again.
    for (const { name, digest } of dependencies) this.#pushed.delete(pushKey(name, digest));
    const [reason] = unpulled.message.split("\n");
    operation.report(
      "warning",
      `${image}: ${builder.name} was sent what it could not pull from ${this.#options.address}: ${reason}`,
    );
  }

  /** Notes that a builder has just built an image and so has it. */
  noteImage(builder: Pick<BuilderConnection, "name">, digest: Digest): void {
    this.#heldBy(builder).add(digest);
  }

  /** Waits until no push is under way. */
  async waitForPushes(): Promise<void> {
    while (this.#pushes.size > 0) await Promise.all(this.#pushes.values());
  }

  /** Ends all pushes. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.waitForPushes();
  }

  async #push(image: string, digest: Digest, operation: Operation): Promise<void> {
    const { registry, store, scratch, address } = this.#options;
    if (this.#ended.aborted || Date.now() < this.#pausedUntil) return;
    try {
      const open = await registry(operation);
      await open.push(image, digest, { store, scratch, signal: this.#ended });
      this.#pushed.add(pushKey(image, digest));
    } catch (error) {
      if (this.#ended.aborted || Date.now() < this.#pausedUntil) return;
      this.#pausedUntil = Date.now() + pushPause;
      const reason = error instanceof Error ? error.message : String(error);
      operation.report(
        "warning",
        `${image} is not at the exchange ${address}: ${reason}. Builders are sent what they can't pull.`,
      );
    }
  }

  async #wait(pushes: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const enough = new AbortController();
    const either = AbortSignal.any([signal, enough.signal]);
    await Promise.race([pushes, sleep(maxWait, undefined, { signal: either })])
      .catch(() => signal.throwIfAborted())
      .finally(() => enough.abort());
  }

  #routeTo({ name }: Pick<BuilderConnection, "name">): RouteSelector {
    const route = this.#routes.get(name) ?? new RouteSelector();
    this.#routes.set(name, route);
    return route;
  }

  #heldBy({ name }: Pick<BuilderConnection, "name">): Set<Digest> {
    const held = this.#held.get(name) ?? new Set();
    this.#held.set(name, held);
    return held;
  }
}

function pushKey(image: string, digest: Digest): string {
  return `${image}@${digest}`;
}
