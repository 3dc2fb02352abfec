import { maxAnswers } from "./fetch-record.ts";

/**
 * Bounds of the fetches of one build: bytes, `time` in milliseconds, and counts in the last four.
 */
export const fetchLimits = {
  answer: 2 * 1024 ** 3,
  sent: 8 * 1024 ** 2,
  /** Of all bodies that are being sent at once. */
  sending: 64 * 1024 ** 2,
  total: 16 * 1024 ** 3,
  time: 3 * 3600_000,
  answers: maxAnswers,
  /** Including those that are rejected or fail. */
  requests: 4 * maxAnswers,
  hosts: 1000,
  connections: 512,
};
