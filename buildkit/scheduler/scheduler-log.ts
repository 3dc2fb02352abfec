import { logDebug } from "../../lib/debug-log.ts";
import type { BuilderState } from "./builder-state.ts";
import type { JobRequest, JobRun } from "./job-request.ts";
import type { SchedulerEvent } from "./scheduler-event.ts";
import type { SchedulingRules } from "./scheduling-rules.ts";

/**
 * Logs why a job starts, on which builder, and after how long.
 * @param builder before it is occupied
 * @param waiting how many other jobs wait
 */
export function logStart(
  { job, request, since }: JobRun,
  builder: BuilderState,
  waiting: number,
  { bytesPerSecond }: SchedulingRules,
): void {
  const missing = builder.missingSeconds(job, bytesPerSecond).toFixed(1);
  const waited = (since - request.arrived).toFixed(1);
  logDebug(
    "scheduler",
    `${job.image} starts on ${builder.occupancy}: its remaining path is ${Math.round(job.remaining)} s, ` +
      `${waiting} other jobs wait, what its cache lacks takes ${missing} s; the job waited ${waited} s`,
  );
}

/** Logs why a job waits, once for each reason. */
export function logWait(request: JobRequest, reason: () => string): void {
  const text = reason();
  if (request.loggedWait === text) return;
  request.loggedWait = text;
  logDebug("scheduler", `${request.job.image} waits: ${text}`);
}

/** Logs that a builder is lost or back, and that a job is requeued. */
export function logEvent(event: SchedulerEvent): void {
  if (event.kind === "started" || event.kind === "ended") return;
  const subject = event.kind === "requeued" ? event.job.image : `builder ${event.builder}`;
  logDebug("scheduler", `${subject} is ${event.kind}${"reason" in event ? `: ${event.reason}` : ""}`);
}
