/** Shows where something was looked for. Of an address no more than its scheme is shown: what stands before an @ is most likely a password. */
export function redactAddress(place: string): string {
  const end = place.indexOf("://");
  return end <= 0 || place.slice(0, end).includes("/") ? place : `${place.slice(0, end)}://…`;
}
