import { type AnyPacket, PacketList, PublicKey, type SignaturePacket, type Subkey, type User } from "openpgp";
import type { Fingerprint } from "./fingerprint.ts";

/**
 * Merges the copies that several files have of one certificate. Every signature of every copy is
 * kept, whoever made it and whatever its date. openpgp.js's own `update` would drop revocations by
 * designated revokers, and those dated in the future.
 */
export function mergeCertificates(
  certificates: readonly PublicKey[],
  fingerprintOf: (key: PublicKey | Subkey) => Fingerprint,
): ReadonlyMap<Fingerprint, PublicKey> {
  const copies = Map.groupBy(certificates, fingerprintOf);
  return new Map([...copies].map(([fingerprint, [first, ...more]]) => [fingerprint, merge(first, more)]));
}

function merge(first: PublicKey | undefined, more: readonly PublicKey[]): PublicKey {
  if (first === undefined) throw new Error("no copy of a certificate to merge");
  if (more.length === 0) return first;
  const copies = [first, ...more];
  const list = new PacketList<AnyPacket>();
  list.push(first.keyPacket, ...distinct(copies.flatMap(({ revocationSignatures }) => revocationSignatures)));
  list.push(...distinct(copies.flatMap(directKeySignatures)));
  for (const users of grouped(
    copies.flatMap((copy) => copy.users),
    nameOf,
  )) {
    const [user] = users;
    const packet = user?.userID ?? user?.userAttribute;
    if (packet) list.push(packet, ...distinct(users.flatMap((one) => one.toPacketList().slice(1))));
  }
  for (const subkeys of grouped(
    copies.flatMap((copy) => copy.subkeys),
    (one) => one.getFingerprint(),
  )) {
    const signatures = subkeys.flatMap((one) => [...one.revocationSignatures, ...one.bindingSignatures]);
    if (subkeys[0]) list.push(subkeys[0].keyPacket, ...distinct(signatures));
  }
  return new PublicKey(list);
}

/**
 * Returns the signatures over the primary key itself (RFC 9580, section 5.2.1.10), which the
 * library's types leave out.
 */
export function directKeySignatures(certificate: PublicKey): readonly SignaturePacket[] {
  return Reflect.get(certificate, "directSignatures") as SignaturePacket[];
}

function nameOf({ userID, userAttribute }: User): string {
  const packet = userID ?? userAttribute;
  return `${userID ? "id" : "attribute"} ${packet ? hexOf(packet.write()) : ""}`;
}

function distinct<Packet extends AnyPacket>(packets: readonly Packet[]): readonly Packet[] {
  return grouped(packets, (packet) => hexOf(packet.write())).flatMap(([packet]) => packet ?? []);
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string): readonly (readonly T[])[] {
  return [...Map.groupBy(all, keyOf).values()];
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
