import type { Job } from "./job.ts";

/** A change in the schedule. */
export type SchedulerEvent =
  | { readonly kind: "started" | "ended"; readonly builder: string; readonly job: Job }
  | { readonly kind: "lost"; readonly builder: string; readonly reason: string }
  | { readonly kind: "back"; readonly builder: string }
  | { readonly kind: "requeued"; readonly job: Job; readonly reason: string };
