/**
 * Limits of every command to a registry, so that no answer fills the memory or holds up a run for
 * ever.
 */
export type RegistryLimits = {
  /** Milliseconds to an answer's first byte, and over which the rate of a transfer is measured. */
  readonly responseTimeout: number;
  /** Bytes per second below which one connection is ended. */
  readonly minRate: number;
  /** Redirects of one request. */
  readonly redirects: number;
  /** Milliseconds of a command that moves no blob, with all its tries. */
  readonly documentTimeout: number;
  /** Bytes per second that a command must reach on average, with all its tries. */
  readonly minAverageRate: number;
  /** Milliseconds of a command, however large the blob. */
  readonly commandTimeout: number;
  /** Milliseconds of all commands that pull or push one image. */
  readonly imageTimeout: number;
};

/** Generous: a layer of 1 GiB may take 18 hours by its size alone, but never more than 6. */
export const registryLimits: RegistryLimits = {
  responseTimeout: 30_000,
  minRate: 1024,
  redirects: 5,
  documentTimeout: 120_000,
  minAverageRate: 16 * 1024,
  commandTimeout: 6 * 3600_000,
  imageTimeout: 12 * 3600_000,
};

/**
 * Returns the time in milliseconds that a command may take to move this many bytes, with all its
 * tries.
 */
export function timeoutFor(bytes: number, limits: RegistryLimits): number {
  const { documentTimeout, minAverageRate, commandTimeout } = limits;
  return Math.min(commandTimeout, documentTimeout + Math.ceil((bytes / minAverageRate) * 1000));
}
