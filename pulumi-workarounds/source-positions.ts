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
    const shown = caller === "callsites" ? frames.slice(0, projectFrame(frames) + 1) : frames;
    return [String(error), ...shown.map((frame) => `    at ${String(frame).replace("file://", "")}`)].join(
      "\n",
    );
  };
}

/** Returns the index of the first frame in the code of this project. */
function projectFrame(frames: readonly NodeJS.CallSite[]): number {
  const found = frames.findIndex((frame) => {
    const file = frame.getFileName() ?? "";
    return file.startsWith("file://") && !file.includes("/node_modules/") && !file.endsWith("/resource.ts");
  });
  return found === -1 ? frames.length : found;
}
