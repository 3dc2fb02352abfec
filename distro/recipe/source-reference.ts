/** The end of a reference that names an image of any registry by its content: `debian@sha256:…`. */
export const pinnedImage = /@sha256:[0-9a-f]{64}$/;

/** Returns the name of an image of the tree, after `stagex/`. Undefined for other references. */
export function treeImage(reference: string): string | undefined {
  return /^(?:(?:index\.)?docker\.io\/)?stagex\/(.*)$/.exec(reference)?.[1];
}

/** Checks that ADD would fetch the path instead of reading it from the context. */
export function isRemote(path: string): boolean {
  return /^(?:https?|git|ssh):\/\/|^git@/.test(path);
}

/** The fields of a `RUN --mount` that decide what it mounts. */
export type Mount = { readonly from: string; readonly source: string; readonly mayBindContext: boolean };

/** Types of mounts without files of the package's folder. Others, as `type=$T`, may bind it. */
const unbound = new Set(["cache", "tmpfs", "secret", "ssh"]);

/** Parses a mount. Field names are not case-sensitive. */
export function parseMount(value: string): Mount {
  const fields = new Map(value.split(",").map((field) => fieldOf(field)));
  const type = fields.get("type")?.toLowerCase() ?? "bind";
  const source = fields.get("source") ?? fields.get("src") ?? "/";
  return { from: fields.get("from") ?? "", source, mayBindContext: !unbound.has(type) };
}

function fieldOf(field: string): [string, string] {
  const plain = field.replace(/^"(.*)"$/, "$1");
  const equals = plain.indexOf("=");
  if (equals === -1) return [plain.toLowerCase(), ""];
  return [plain.slice(0, equals).toLowerCase(), plain.slice(equals + 1)];
}
