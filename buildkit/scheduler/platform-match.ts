/**
 * A machine runs a platform's programs on its own CPU, through an emulator (many times slower), or
 * not at all.
 */
export type PlatformMatch = "native" | "emulated" | "none";

/**
 * Returns the worst match of a builder with the wanted platforms; `native` where none is wanted.
 * x86 machines run `linux/386` natively, and no emulator counts for it: emulators of it exist for
 * Arm, but the bootstrap must not depend on one.
 * @param platforms the builder's, its own first
 */
export function matchPlatforms(platforms: readonly string[], wanted: readonly string[]): PlatformMatch {
  const offered = platforms.map(canonical);
  const matches = wanted.map((platform) => matchOf(offered, canonical(platform)));
  if (matches.includes("none")) return "none";
  return matches.includes("emulated") ? "emulated" : "native";
}

function matchOf(offered: readonly string[], wanted: string): PlatformMatch {
  const [own] = offered;
  if (own === wanted) return "native";
  if (wanted === "linux/386") return own === "linux/amd64" ? "native" : "none";
  return offered.includes(wanted) ? "emulated" : "none";
}

/** Some write linux/arm64 as `linux/arm64/v8`; any amd64 machine builds all of amd64's variants. */
function canonical(platform: string): string {
  return platform.replace(/^(linux\/(?:amd64|386))\/.*$/, "$1").replace(/^(linux\/arm64)\/v8$/, "$1");
}
