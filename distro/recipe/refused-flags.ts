import { quoted } from "../tree-error.ts";
import type { Instruction } from "./containerfile-instructions.ts";

/** What a recipe asks for and no build gets: what was found, and what is allowed. */
export type RefusedFlag = { readonly flag: string; readonly found: string; readonly allowed: string };

/** Mounts that bring in only what the image is built from, or nothing: no build is given a secret or an agent. */
const hermeticMounts = new Set(["bind", "tmpfs", "secret", "ssh"]);

const allowed = {
  mount:
    "type=bind, tmpfs, secret or ssh, written out without quotes: a cache would bring in what other builds have left; use an earlier stage",
  security: "sandbox: no step has privileges",
  device: "no such flag: no step gets a device of the machine",
  network: "none: no step has a network",
};

/** Finds the flags of a RUN that would let the machine, or other builds on it, into the image. */
export function findRefusedFlags({ keyword, flags }: Instruction): RefusedFlag[] {
  if (keyword !== "RUN") return [];
  return flags.flatMap(({ name, value }) => {
    const refuse = (flag: keyof typeof allowed) => [
      { flag: `RUN --${flag}`, found: quoted(value), allowed: allowed[flag] },
    ];
    if (name === "mount") return isHermeticMount(value) ? [] : refuse("mount");
    if (name === "security") return value === "sandbox" ? [] : refuse("security");
    if (name === "device") return refuse("device");
    return name === "network" && value === "host" ? refuse("network") : [];
  });
}

/** A value with quotes is refused: BuildKit reads it as a line of comma-separated values, where a quoted field may hold commas. */
function isHermeticMount(value: string): boolean {
  return !value.includes('"') && hermeticMounts.has(mountType(value));
}

/**
 * The type of a mount, in lower case. The last one counts, and it may hold a variable, quotes or escapes, which only the build
 * expands (frontend/dockerfile/instructions, parseMount): such a type is none of those that are known.
 */
function mountType(value: string): string {
  const types = value.split(",").flatMap((field) => {
    const [, type] = /^type=(.*)$/i.exec(field) ?? [];
    return type === undefined ? [] : [type.toLowerCase()];
  });
  return types.at(-1) ?? "bind";
}
