import { quoted } from "../tree-error.ts";
import type { Instruction } from "./containerfile-instructions.ts";

/** A flag that no build grants: the text found, and the values that are allowed. */
export type RefusedFlag = { readonly flag: string; readonly found: string; readonly allowed: string };

/** Mounts of only the image's own inputs, or of nothing: builds get neither secrets nor agents. */
const hermeticMounts = new Set(["bind", "tmpfs", "secret", "ssh"]);

const allowed = {
  mount:
    "type=bind, tmpfs, secret or ssh, written out without quotes: a cache would bring in what other builds have left; use an earlier stage",
  security: "sandbox: no step has privileges",
  device: "no such flag: no step gets a device of the machine",
  network: "none: no step has a network",
};

/** Finds the flags of a RUN that would let the machine, or other builds on it, affect the image. */
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

/** Refuses quotes: in BuildKit's comma-separated value, a quoted field may hold commas. */
function isHermeticMount(value: string): boolean {
  return !value.includes('"') && hermeticMounts.has(mountType(value));
}

/**
 * Returns the last type of a mount, in lower case, as that one counts. It may hold a variable,
 * quotes or escapes, which only the build expands (frontend/dockerfile/instructions, parseMount).
 * Such a type is unknown, and so refused.
 */
function mountType(value: string): string {
  const types = value.split(",").flatMap((field) => {
    const [, type] = /^type=(.*)$/i.exec(field) ?? [];
    return type === undefined ? [] : [type.toLowerCase()];
  });
  return types.at(-1) ?? "bind";
}
