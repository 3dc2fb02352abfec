/**
 * Returns the code of a system error, such as `ENOENT` (errno(3)); undefined for any other error.
 */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/**
 * Returns whether an error means that there is no such file: the name is free, or a folder above it
 * is no folder.
 */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/**
 * Returns a handler for rejections: `value` where a file is missing; any other error is thrown
 * again.
 */
export function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isMissing(error)) return value;
    throw error;
  };
}

/**
 * Returns a handler for rejections: `value` where the name is taken; any other error is thrown
 * again.
 */
export function ifExists<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (errorCode(error) === "EEXIST") return value;
    throw error;
  };
}
