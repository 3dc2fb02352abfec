import type { BuilderState } from "./builder-state.ts";
import type { Job } from "./job.ts";

/** Explains why no builder of the fleet can build an image, and lists the builders. */
export function impossibleMessage(
  { image, platforms, allowedBuilders }: Job,
  builders: readonly BuilderState[],
): string {
  const offered = builders.map(({ builder }) => `${builder.name} (${builder.platforms.join(", ")})`);
  const wanted = [
    ...(platforms.length === 0 ? [] : [platforms.join(" and ")]),
    ...(allowedBuilders === undefined ? [] : [`one of ${allowedBuilders.join(", ")}`]),
  ];
  const all = " One builder must run all of these; an emulator counts, but not for linux/386.";
  return (
    `${image}: no builder of the fleet can build it: it needs ${wanted.join(", ")}; ` +
    `there is ${offered.join("; ") || "none at all"}. Add one that can to the fleet.` +
    (platforms.length > 1 ? all : "")
  );
}

/** Explains that all builders of an image are lost, and why. */
export function allLostMessage(
  { image, platforms }: Job,
  builders: readonly BuilderState[],
  waited: number,
): string {
  const reasons = builders.map(({ name, lost }) => `${name}: ${lost}`);
  const time = waited > 0 ? ` for ${waited} s` : "";
  return (
    `${image}: no builder for ${platforms.join(" and ")} has answered${time}: ${reasons.join("; ")}. ` +
    "Repair one and run the command again; what is built already is kept."
  );
}

/** Explains that too many builders were lost during a job. */
export function tooManyLossesMessage({ image }: Job, losses: readonly string[]): string {
  return (
    `${image}: given up, as ${losses.length} builders were lost with it: ${losses.join("; ")}. ` +
    "It may be the one that breaks them: look at its memory and disk."
  );
}
