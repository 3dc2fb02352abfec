/** The scheduler's time: a test or a benchmark replaces it by a simulated one. */
export type Clock = {
  /** Returns the seconds since some moment; never goes back. */
  now(): number;
  /** Calls `action` once after so many seconds, unless the returned function is called before. */
  after(seconds: number, action: () => void): () => void;
};

/** The longest delay of a timer in Node, in seconds: 2^31 ms, 24 days. */
const longestDelay = 2_147_483;

/** This machine's monotonic clock. */
export const realClock: Clock = {
  now: () => performance.now() / 1000,
  after(seconds, action) {
    const timer = setTimeout(action, Math.min(seconds, longestDelay) * 1000);
    return () => clearTimeout(timer);
  },
};
