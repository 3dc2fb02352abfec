/**
 * Gives Pulumi stack traces (V8's stack trace API) with plain paths, one frame for each resource,
 * and no frames for promises. Call it before the first resource is registered.
 *
 * - The SDK notes in the state where each resource was registered, relative to the project. It
 *   parses stack traces for that, and takes the file URLs of ES modules for relative paths:
 *   absolute paths of this machine would get into the state.
 * - It keeps the whole trace with each resource, half a KiB. Of the trace it gets the frame in this
 *   project's code alone.
 * - It takes a trace for each promise of a resource, to name those that never settle. Formatting
 *   them took a good part of the program's time, so they stay empty.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/13436 (source positions),
 * https://github.com/pulumi/pulumi/pull/20350 (parsed stack traces); for file URLs and for the cost
 * of the traces no issue is filed.
 *
 * Remove when the SDK resolves file URLs, and traces no promises unless it is asked to.
 */
export function usePathsInStackTraces(): void {
  Error.prepareStackTrace = (error, frames) => {
    const caller = frames[0]?.getFunctionName();
    if (caller === "debuggablePromise") return String(error);
    const shown = caller === "callsites" ? resourceFrames(frames) : frames;
    return [String(error), ...shown.map((frame) => `    at ${String(frame).replace("file://", "")}`)].join(
      "\n",
    );
  };
}

/** The frames that the SDK drops from a resource's trace: its own, and the class's constructor. */
const droppedFrames = 5;

/** Returns the frames of a resource's trace: those that the SDK drops, and the caller's. */
function resourceFrames(frames: readonly NodeJS.CallSite[]): readonly NodeJS.CallSite[] {
  const caller = frames.findIndex((frame) => {
    const file = frame.getFileName() ?? "";
    return (
      file.startsWith("file://") &&
      !file.includes("/node_modules/") &&
      !/\/(?:define-)?resource\.ts$/.test(file)
    );
  });
  if (caller < droppedFrames) return caller === -1 ? frames : frames.slice(0, caller + 1);
  // A class with a constructor of its own has a frame more.
  return [...frames.slice(0, droppedFrames), ...frames.slice(caller, caller + 1)];
}
