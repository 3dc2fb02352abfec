import {
  type CauseValue,
  type InputName,
  type RebuildCause,
  unknownDigest,
} from "../../distro/plan/rebuild-plan.ts";

/** Formats each cause in words, a line each: `its version: 1.0 -> 1.1`. */
export function formatCauses(causes: readonly RebuildCause[]): string[] {
  return shownCauses(causes).map((cause) => {
    const { input, entry = "" } = cause;
    if (input === "dependencies") return dependencyText(entry, cause);
    if (input === "context") return `its files: ${filesOf(cause).join(", ")}`;
    return `its ${[wordsFor(input).one, entry].join(" ").trimEnd()}: ${changeText(cause)}`;
  });
}

/** Formats all causes in a few words: `version 1.1; Containerfile; 3 sources`. */
export function summarizeCauses(causes: readonly RebuildCause[]): string {
  const byInput = Map.groupBy(shownCauses(causes), ({ input }) => input);
  return [...byInput]
    .map(([input, same]) => {
      const { one, many } = wordsFor(input);
      const details = same.flatMap(input === "context" ? filesOf : detailOf);
      return details.length > 2 ? `${details.length} ${many}` : [one, details.join(", ")].join(" ").trimEnd();
    })
    .join("; ");
}

const words: Partial<Record<InputName, { readonly one: string; readonly many: string }>> = {
  containerfile: { one: "Containerfile", many: "" },
  buildArgs: { one: "build argument", many: "build arguments" },
  sources: { one: "source", many: "sources" },
  context: { one: "file", many: "files" },
  dependencies: { one: "built from", many: "images that it is built from" },
};

function wordsFor(input: InputName): { readonly one: string; readonly many: string } {
  return words[input] ?? { one: input, many: input };
}

/** Leaves out the half dozen build arguments that follow from the version. */
function shownCauses(causes: readonly RebuildCause[]): readonly RebuildCause[] {
  if (!causes.some(({ input }) => input === "version")) return causes;
  return causes.filter(({ input, entry = "" }) => input !== "buildArgs" || !/^VERSION(_|$)/.test(entry));
}

function detailOf({ input, entry, after }: RebuildCause): string[] {
  if (input === "version") return [valueText(after)];
  return entry === undefined ? [] : [entry];
}

function dependencyText(name: string, { before, after }: RebuildCause): string {
  if (before === null) return `it is now built from ${name} too`;
  if (after === null) return `it is no longer built from ${name}`;
  if (after !== unknownDigest) return `${name}: ${before} -> ${after}`;
  return before === unknownDigest ? name : `${name}, which was ${before}`;
}

function changeText({ before, after }: RebuildCause): string {
  if (before === null) return `${valueText(after)} (new)`;
  if (after === null) return `${valueText(before)} (gone)`;
  return `${valueText(before)} -> ${valueText(after)}`;
}

function valueText(value: CauseValue): string {
  return typeof value === "string" ? value : Object.values(value ?? {}).join(", ");
}

function filesOf({ before, after }: RebuildCause): string[] {
  const [old, current] = [namesIn(before), namesIn(after)];
  return [...new Set([...old, ...current])].map((name) => {
    if (!old.includes(name)) return `${name} (new)`;
    return current.includes(name) ? name : `${name} (gone)`;
  });
}

function namesIn(value: CauseValue): string[] {
  return typeof value === "object" && value !== null ? Object.keys(value) : [];
}
