/**
 * Pulumi notes in its state where each resource was registered, relative to the project. It reads that from stack traces,
 * where modules have file URLs, and takes those for relative paths: absolute paths would end up in the state. With plain
 * paths in stack traces (V8's stack trace API) it gets them right. Call it before the first resource is registered.
 */
export function usePathsInStackTraces(): void {
  Error.prepareStackTrace = (error, frames) => {
    const lines = frames.map((frame) => `    at ${String(frame).replace("file://", "")}`);
    return [String(error), ...lines].join("\n");
  };
}
