/**
 * Returns a path as it is, and only the scheme of an address: what stands before an @ is most
 * likely a password.
 */
export function redactAddress(text: string): string {
  const end = text.indexOf("://");
  return end <= 0 || text.slice(0, end).includes("/") ? text : `${text.slice(0, end)}://…`;
}
