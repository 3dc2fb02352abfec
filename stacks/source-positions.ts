/** The SDK's functions that take stack traces all the time: for each resource, and for each promise. */
const sdkAskers: ReadonlySet<string> = new Set(["callsites", "debuggablePromise"]);

/**
 * Pulumi notes in its state where each resource was registered, relative to the project. It reads that from stack traces,
 * where modules have file URLs, and takes those for relative paths: absolute paths would end up in the state. With plain
 * paths in stack traces (V8's stack trace API) it gets them right. Of the whole trace, which it would keep with every
 * resource as well, it gets the place alone. Call it before the first resource is registered.
 */
export function usePathsInStackTraces(): void {
  Error.prepareStackTrace = (error, frames) => {
    const shown = sdkAskers.has(frames[0]?.getFunctionName() ?? "")
      ? frames.slice(0, placeOf(frames) + 1)
      : frames;
    return [String(error), ...shown.map((frame) => `    at ${String(frame).replace("file://", "")}`)].join(
      "\n",
    );
  };
}

/** The first frame in code of this project. */
function placeOf(frames: readonly NodeJS.CallSite[]): number {
  const found = frames.findIndex((frame) => {
    const file = frame.getFileName() ?? "";
    return (
      file.startsWith("file://") && !file.includes("/node_modules/") && !file.endsWith("/package/resource.ts")
    );
  });
  return found === -1 ? frames.length : found;
}
