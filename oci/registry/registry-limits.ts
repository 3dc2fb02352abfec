/** What bounds every command to a registry: with these no answer can fill the memory or hold up a run for ever. */
export type RegistryLimits = {
  /** Milliseconds to an answer's first byte, and over which the speed of a transfer is measured. */
  readonly patience: number;
  /** Bytes per second under which one connection is given up. */
  readonly slowest: number;
  /** Redirects of one request. */
  readonly redirects: number;
  /** Milliseconds of a command that moves no blob, with all its tries. */
  readonly document: number;
  /** Bytes per second that a command must reach on average, with all its tries. */
  readonly average: number;
  /** Milliseconds of a command, however large the blob. */
  readonly longest: number;
  /** Milliseconds of all commands that pull or push one image. */
  readonly image: number;
};

/** Generous: a layer of 1 GiB may take 18 hours by its size alone, but never more than 6. */
export const registryLimits: RegistryLimits = {
  patience: 30_000,
  slowest: 1024,
  redirects: 5,
  document: 120_000,
  average: 16 * 1024,
  longest: 6 * 3600_000,
  image: 12 * 3600_000,
};

/** How long a command that moves so many bytes may take, with all its tries, in milliseconds. */
export function timeFor(bytes: number, { document, average, longest }: RegistryLimits): number {
  return Math.min(longest, document + Math.ceil((bytes / average) * 1000));
}
