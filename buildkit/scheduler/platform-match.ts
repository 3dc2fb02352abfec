/** How a machine runs a platform's programs: on its own CPU, through an emulator (many times slower), or not at all. */
export type PlatformMatch = "native" | "emulated" | "none";

/**
 * How a builder with these platforms, its own first, runs the programs of `wanted`; for several, as it does the worst of them. Where none
 * are to be run, any builder does.
 * x86 machines run `linux/386` as they are, and nothing else is ever taken for that: emulators of it exist for Arm, but the bootstrap
 * must not hang on one.
 */
export function matchPlatforms(platforms: readonly string[], wanted: readonly string[]): PlatformMatch {
  const offered = platforms.map(canonical);
  const fits = wanted.map((platform) => fitOf(offered, canonical(platform)));
  if (fits.includes("none")) return "none";
  return fits.includes("emulated") ? "emulated" : "native";
}

function fitOf(offered: readonly string[], wanted: string): PlatformMatch {
  const [own] = offered;
  if (own === wanted) return "native";
  if (wanted === "linux/386") return own === "linux/amd64" ? "native" : "none";
  return offered.includes(wanted) ? "emulated" : "none";
}

/** `linux/arm64/v8` is how some write linux/arm64, and amd64's variants are all built by any amd64 machine. */
function canonical(platform: string): string {
  return platform.replace(/^(linux\/(?:amd64|386))\/.*$/, "$1").replace(/^(linux\/arm64)\/v8$/, "$1");
}
