/**
 * Returns a path as it is, and only the scheme of an address: what stands before an @ is most
 * likely a password.
 */
export function redactAddress(place: string): string {
  const end = place.indexOf("://");
  return end <= 0 || place.slice(0, end).includes("/") ? place : `${place.slice(0, end)}://…`;
}
