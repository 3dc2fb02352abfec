/** A template that cannot be expanded; the message gives the reason. */
export class PlaceholderError extends Error {
  override readonly name = "PlaceholderError";
}

/** A version's forms, for placeholders and build arguments (package.toml(5), "PLACEHOLDERS"). */
export type VersionForms = {
  readonly version: string;
  readonly version_under: string;
  readonly version_dash: string;
  readonly version_major: string;
  readonly version_major_minor: string;
  readonly version_strip_suffix: string;
};

/**
 * Derives the forms as StageX's generator does: splits at dots, and at the first dash for the
 * suffix. A one-part version has no major.minor. For it the generator's Python writes the text
 * "None" into build arguments, and so into the image.
 */
export function versionForms(version: string): VersionForms {
  const parts = version.split(".");
  const dash = version.indexOf("-");
  return {
    version,
    version_under: version.replaceAll(".", "_"),
    version_dash: version.replaceAll(".", "-"),
    version_major: parts[0] ?? "",
    version_major_minor: parts.length >= 2 ? parts.slice(0, 2).join(".") : "None",
    version_strip_suffix: dash === -1 ? version : version.slice(0, dash),
  };
}

/**
 * Expands `{name}` from the values, and `{{` and `}}` to single braces, as Python's `str.format`
 * does. Python's format specs (`{version:>9}`, `{0}`, `{version.x}`) do not belong to the format:
 * they are unknown placeholders.
 * @throws PlaceholderError for an unknown placeholder or a lone brace
 */
export function expandPlaceholders(template: string, values: Readonly<Record<string, string>>): string {
  if (!/[{}]/.test(template)) return template;
  return template.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (found, name: string | undefined) => {
    if (found === "{{" || found === "}}") return found.slice(1);
    if (name === undefined) throw new PlaceholderError(`a lone ${found}`);
    if (!Object.hasOwn(values, name)) throw new PlaceholderError(found);
    return values[name] ?? "";
  });
}
