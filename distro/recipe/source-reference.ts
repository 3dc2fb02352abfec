/** An image that is named by its content, wherever it comes from: `debian@sha256:…`. */
export const pinnedImage = /@sha256:[0-9a-f]{64}$/;

/** Returns the name after `stagex/`, of an image of the tree. */
export function treeImage(reference: string): string | undefined {
  return /^(?:(?:index\.)?docker\.io\/)?stagex\/(.*)$/.exec(reference)?.[1];
}

/** Whether ADD fetches the path instead of reading it from the context. */
export function isRemote(path: string): boolean {
  return /^(?:https?|git|ssh):\/\/|^git@/.test(path);
}

/** The fields of a `RUN --mount` that say what it brings in. */
export type Mount = { readonly from: string; readonly source: string; readonly mayBindContext: boolean };

/** Mounts that bring nothing of the package's folder. Others, such as `type=$T`, may bind it. */
const unbound = new Set(["cache", "tmpfs", "secret", "ssh"]);

/** Parses a mount; names of fields are compared in lower case. */
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
