/** An image that an image is built from, as the builder must have it. */
export type JobInput = {
  readonly digest: string;
  /** What would have to be sent to a builder that has not got it; where not known, a middling image's. */
  readonly bytes?: number | undefined;
};

/** One image to be built, for one platform or for several at once. */
export type Job = {
  /** Jobs of one key give one result, and only one of them is built: an input key, or one with a builder's vendor for cross verification. */
  readonly key: string;
  /** The image's name, for messages. */
  readonly image: string;
  /** OCI platforms whose programs the builder must run, such as `linux/386`; none for an image that is made of files alone. */
  readonly platforms: readonly string[];
  /** Expected seconds, where anything is known. */
  readonly seconds?: number | undefined;
  /** Expected seconds from the start of this job to the end of the longest chain that it begins, itself included. */
  readonly remaining: number;
  /**
   * Bytes of memory that it is expected to take at its peak; not counted where not given. One that no builder has so much for is built by
   * itself where there is most: an expectation is no proof.
   */
  readonly memory?: number | undefined;
  readonly inputs: readonly JobInput[];
  /**
   * Build steps that it has in common with other jobs, such as a package's subpackages that are all cut from one compilation: a name for
   * them, and their expected seconds (part of `seconds`). They are done once and then in the cache of that builder, so the others wait
   * for the first, and go where it was.
   */
  readonly shared?: { readonly name: string; readonly seconds: number } | undefined;
  /** Names of the builders that may build it, such as one vendor's; any where not given. */
  readonly allowedBuilders?: readonly string[] | undefined;
};

/** A daemon that takes jobs. */
export type ScheduledBuilder = {
  /** Unique in its fleet. */
  readonly name: string;
  /** OCI platforms, its own first, as BuildKit lists them. */
  readonly platforms: readonly string[];
  /** How many images it builds at once. */
  readonly slots: number;
  /** Bytes for all its jobs together; without a limit where not given. */
  readonly memory?: number | undefined;
};
