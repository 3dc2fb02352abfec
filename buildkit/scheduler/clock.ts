/** Time as the schedule sees it, so that the same schedule runs on a simulated day. */
export type Clock = {
  /** Seconds since some moment; never goes back. */
  now(): number;
  /** Calls `action` once after so many seconds, unless the returned function is called before. */
  after(seconds: number, action: () => void): () => void;
};

/** Node cannot wait longer at once (2^31 ms, 24 days). */
const longestWait = 2_147_483;

/** This machine's monotonic clock. */
export const realClock: Clock = {
  now: () => performance.now() / 1000,
  after(seconds, action) {
    const timer = setTimeout(action, Math.min(seconds, longestWait) * 1000);
    return () => clearTimeout(timer);
  },
};
