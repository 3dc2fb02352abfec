/** An image that an image is built from, as the builder must have it. */
export type JobInput = {
  readonly digest: string;
  /** Bytes to send to a builder that lacks it; where not known, those of an average image count. */
  readonly bytes?: number | undefined;
};

/** One image to build, for one platform or for several at once. */
export type Job = {
  /**
   * An input key, or one with a builder's vendor for cross verification. Jobs with the same key
   * give the same result, so only one of them is built.
   */
  readonly key: string;
  /** The image's name, for messages. */
  readonly image: string;
  /**
   * OCI platforms whose programs the builder must run, such as `linux/386`; none for an image that
   * is made of files alone.
   */
  readonly platforms: readonly string[];
  /** Expected seconds, where anything is known. */
  readonly seconds?: number | undefined;
  /**
   * Expected seconds from the start of this job to the end of the longest chain that it begins,
   * itself included.
   */
  readonly remaining: number;
  /**
   * Bytes of memory that it is expected to take at its peak; not counted where not given. A job
   * that exceeds every builder gets the largest one to itself: an expectation is no proof.
   */
  readonly memory?: number | undefined;
  readonly inputs: readonly JobInput[];
  /**
   * Build steps that it has in common with other jobs: a name for them, and their expected seconds
   * (part of `seconds`). A package's subpackages, for example, are cut from one compilation. The
   * first job does the steps, and its builder caches them. So the others wait for the first, and go
   * to its builder.
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
