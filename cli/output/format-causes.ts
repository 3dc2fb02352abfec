import { type CauseValue, type RebuildCause, unknownDigest } from "../../distro/plan/rebuild-plan.ts";

/** Returns a line for each change: `its version: 1.0 -> 1.1`. */
export function formatCauses(causes: readonly RebuildCause[]): string[] {
  return shownCauses(causes).map((cause) => {
    const { table, name = "" } = partsOf(cause.property);
    const { one } = wordsFor(table);
    if (table === "dependencies") return dependencyText(name, cause);
    if (table === "context") return `its files: ${filesOf(cause).join(", ")}`;
    return `its ${[one, name].join(" ").trimEnd()}: ${changeText(cause)}`;
  });
}

/** Returns a summary of the changes: `version 1.1; Containerfile; 3 sources`. */
export function summarizeCauses(causes: readonly RebuildCause[]): string {
  const byTable = Map.groupBy(shownCauses(causes), ({ property }) => partsOf(property).table);
  return [...byTable]
    .map(([table, same]) => {
      const { one, many } = wordsFor(table);
      const details = table === "context" ? same.flatMap(filesOf) : same.flatMap(detailOf);
      return details.length > 2 ? `${details.length} ${many}` : [one, details.join(", ")].join(" ").trimEnd();
    })
    .join("; ");
}

const words: Readonly<Record<string, { one: string; many: string }>> = {
  containerfile: { one: "Containerfile", many: "" },
  buildArgs: { one: "build argument", many: "build arguments" },
  sources: { one: "source", many: "sources" },
  context: { one: "file", many: "files" },
  dependencies: { one: "built from", many: "images that it is built from" },
};

function wordsFor(table: string): { one: string; many: string } {
  return words[table] ?? { one: table, many: table };
}

/** Leaves out the build arguments that follow from a changed version: there are half a dozen. */
function shownCauses(causes: readonly RebuildCause[]): readonly RebuildCause[] {
  if (!causes.some(({ property }) => property === "version")) return causes;
  return causes.filter(({ property }) => !/^buildArgs\.VERSION(_|$)/.test(property));
}

/**
 * Splits `sources["a.tar"]` or `buildArgs.NAME`, as the provider writes them, into table and name.
 */
function partsOf(property: string): { table: string; name?: string } {
  const [, table = property, quoted, plain] = /^(\w+)(?:\["(.*)"\]|\.(.+))$/.exec(property) ?? [];
  const name = quoted?.replaceAll('\\"', '"') ?? plain;
  return name === undefined ? { table } : { table, name };
}

function detailOf({ property, after }: RebuildCause): string[] {
  const { table, name } = partsOf(property);
  if (table === "version") return [valueText(after)];
  return name === undefined ? [] : [name];
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
