/**
 * Pulumi notes in its state where each resource was registered, relative to the project. It reads that from stack traces,
 * where modules have file URLs, and takes those for relative paths: absolute paths would end up in the state. With plain
 * paths in stack traces (V8's stack trace API) it gets them right. Of the whole trace, which it would keep with every
 * resource as well, it gets the place alone. Call it before the first resource is registered.
 *
 * It also takes a trace for each of the many promises of a resource, to name those that never end. Formatting them was a good
 * part of the program's time, and they are left empty.
 */
export function usePathsInStackTraces(): void {
  Error.prepareStackTrace = (error, frames) => {
    const asking = frames[0]?.getFunctionName();
    if (asking === "debuggablePromise") return String(error);
    const shown = asking === "callsites" ? frames.slice(0, placeOf(frames) + 1) : frames;
    return [String(error), ...shown.map((frame) => `    at ${String(frame).replace("file://", "")}`)].join(
      "\n",
    );
  };
}

/** The first frame in code of this project. */
function placeOf(frames: readonly NodeJS.CallSite[]): number {
  const found = frames.findIndex((frame) => {
    const file = frame.getFileName() ?? "";
    return file.startsWith("file://") && !file.includes("/node_modules/") && !file.endsWith("/resource.ts");
  });
  return found === -1 ? frames.length : found;
}
