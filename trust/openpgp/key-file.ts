import {
  type AnyPacket,
  enums,
  PacketList,
  PublicKey,
  PublicKeyPacket,
  PublicSubkeyPacket,
  SecretKeyPacket,
  SecretSubkeyPacket,
  SignaturePacket,
  UnparseablePacket,
  UserAttributePacket,
  UserIDPacket,
  unarmor,
} from "openpgp";
import { type Fingerprint, parseFingerprint } from "./fingerprint.ts";
import { hasArmorLine, splitKeyText } from "./key-text.ts";

/** Something in a key file that may revoke keys and can't be applied. */
export type FileDoubt = {
  readonly reason: string;
  /** The primary keys that it may revoke; absent if unknown: then it may revoke any. */
  readonly keys?: readonly Fingerprint[];
};

/** A revocation outside of a certificate, and the primary key before it in the file, if any. */
export type FileRevocation = { readonly signature: SignaturePacket; readonly precedingKey?: Fingerprint };

/** The contents of a key file. */
export type KeyFile = {
  readonly certificates: readonly PublicKey[];
  /**
   * Standalone revocations of primary keys, as `gpg --gen-revoke` writes them, and those behind a
   * key that they don't fit.
   */
  readonly revocations: readonly FileRevocation[];
  readonly doubts: readonly FileDoubt[];
  /** Notes on parts that were left out and can't be a revocation. */
  readonly notes: readonly string[];
  /** The number of packets read; an armored block counts as at least one. */
  readonly packets: number;
};

const allowed = Object.fromEntries(
  [
    PublicKeyPacket,
    PublicSubkeyPacket,
    SecretKeyPacket,
    SecretSubkeyPacket,
    UserIDPacket,
    UserAttributePacket,
    SignaturePacket,
  ].map((kind) => [kind.tag, kind]),
);

const { signature: kinds } = enums;
/**
 * Signature types of RFC 9580, section 5.2.1, and 0x16 for attestations, which gpg and Sequoia use.
 */
const knownTypes: ReadonlySet<number> = new Set([...Object.values(kinds).map(Number), 0x16, 0x50]);
const revocationTypes: ReadonlySet<number> = new Set([kinds.keyRevocation, kinds.subkeyRevocation]);

const howToExport = "export the keys: gpg --armor --export FINGERPRINT…";

/**
 * Parses a key file by its content, never by its name: packets, or text with any number of armored
 * blocks. It never throws: everything unreadable becomes a doubt.
 * @param limit the most packets to read: each takes openpgp.js some 50 microseconds
 */
export async function parseKeyFile(bytes: Uint8Array, limit: number): Promise<KeyFile> {
  if (bytes.length === 0) return doubtful("it is empty: an export into it may have failed; delete it");
  if (isPicture(bytes))
    return hasArmorLine(Buffer.from(bytes).toString("latin1"))
      ? doubtful("it is a picture with OpenPGP armor in it")
      : { ...nothing, notes: ["it is a picture"] };
  if (Buffer.from(bytes.subarray(8, 12)).toString("latin1") === "KBXf")
    return doubtful(`it is GnuPG's own keybox; ${howToExport}`);
  // The first octet of every packet has its highest bit set (RFC 9580, section 4.2); so has a byte order mark.
  const isPacket =
    ((bytes[0] ?? 0) & 0x80) !== 0 && !/^(?:efbbbf|fffe|feff)/.test(hexOf(bytes.subarray(0, 3)));
  if (isPacket) {
    const whole = await parsePackets(bytes, limit);
    if (!(whole instanceof Error)) return sortPackets(whole);
  }
  const { blocks, binaries, hasDisarmedRevocation, doubt } = splitKeyText(bytes);
  const parts: KeyFile[] = [];
  let left = limit;
  for (const part of [...blocks, ...binaries]) {
    const packets = await parsePackets(part, left);
    // After the colon openpgp.js may quote the file.
    const unread = (error: Error) => doubtful(`it can't be read: ${error.message.split(":", 1)[0]}`);
    const read = packets instanceof Error ? unread(packets) : sortPackets(packets);
    parts.push(read);
    left -= Math.max(1, read.packets);
    if (left <= 0) break;
  }
  if (left <= 0) parts.push(doubtful(tooMany));
  if (doubt !== undefined) parts.push(doubtful(doubt));
  if (hasDisarmedRevocation)
    parts.push({
      ...nothing,
      notes: ["its revocation is not in force: take away the colon before -----BEGIN"],
    });
  else if (parts.length === 0 && isPacket && !isText(bytes))
    parts.push(doubtful("it begins like OpenPGP packets and has none that can be read"));
  else if (parts.length === 0) parts.push({ ...nothing, notes: ["there is no OpenPGP certificate in it"] });
  return {
    certificates: parts.flatMap(({ certificates }) => certificates),
    revocations: parts.flatMap(({ revocations }) => revocations),
    doubts: parts.flatMap(({ doubts }) => doubts),
    notes: parts.flatMap(({ notes }) => notes),
    packets: limit - left,
  };
}

const tooMany = "there are more packets than are read";

const nothing: KeyFile = { certificates: [], revocations: [], doubts: [], notes: [], packets: 0 };

function doubtful(reason: string, keys?: readonly Fingerprint[]): KeyFile {
  return { ...nothing, doubts: [{ reason, ...(keys === undefined ? {} : { keys }) }] };
}

async function parsePackets(
  block: string | Uint8Array,
  limit: number,
): Promise<PacketList<AnyPacket> | Error> {
  try {
    if (limit <= 0) return new Error(tooMany);
    const binary = typeof block === "string" ? await removeArmor(block) : block;
    if (!hasAtMost(limit, binary)) return new Error(tooMany);
    // The types ask for a Map; openpgp.js takes an object.
    return await PacketList.fromBinary(binary, allowed as unknown as Map<enums.packet, object>);
  } catch (error) {
    return error as Error;
  }
}

/**
 * Counts packets by their headers (RFC 9580, section 4.2). openpgp.js reports lengths that are
 * invalid in keys.
 */
function hasAtMost(limit: number, bytes: Uint8Array): boolean {
  const data = Buffer.from(bytes);
  for (let at = 0, count = 0; at + 6 <= data.length; count++) {
    if (count === limit) return false;
    const [first = 0, second = 0, third = 0] = data.subarray(at, at + 3);
    const octets = 2 ** (first & 3);
    if ((first & 0x40) === 0) at += octets === 8 ? data.length : 1 + octets + data.readUIntBE(at + 1, octets);
    else if (second < 192) at += 2 + second;
    else if (second < 224) at += 3 + ((second - 192) << 8) + third + 192;
    else at += second === 255 ? 6 + data.readUInt32BE(at + 2) : 2 + 2 ** (second & 31);
  }
  return true;
}

async function removeArmor(block: string): Promise<Uint8Array> {
  const { data } = await unarmor(block);
  return new Uint8Array(await new Response(data).arrayBuffer());
}

/**
 * Sorts packets into certificates, each of which begins with a primary key (RFC 9580, section
 * 10.1), and standalone packets.
 */
function sortPackets(packets: PacketList<AnyPacket>): KeyFile {
  if (packets.length === 0) return doubtful("it has packets, and none with a meaning");
  const alone: AnyPacket[] = [];
  const certificates: AnyPacket[][] = [];
  for (const packet of packets) {
    if (isTag(packet, enums.packet.publicKey, enums.packet.secretKey)) certificates.push([packet]);
    else (certificates.at(-1) ?? alone).push(packet);
  }
  const parts = [readStandalone(alone), ...certificates.map(readCertificate)];
  return {
    certificates: parts.flatMap((part) => part.certificates),
    revocations: parts.flatMap((part) => part.revocations),
    doubts: parts.flatMap((part) => part.doubts),
    notes: parts.flatMap((part) => part.notes),
    packets: packets.length,
  };
}

function readCertificate(packets: readonly AnyPacket[]): KeyFile {
  const [first] = packets;
  if (first instanceof SecretKeyPacket) {
    const reason =
      "it has a private key, which must not be here; export the public key: gpg --armor --export";
    const precedingKey = parseFingerprint(first.getFingerprint());
    const revocations = packets.filter(isKeyRevocation).map((signature) => ({ signature, precedingKey }));
    return { ...doubtful(reason, [precedingKey]), revocations };
  }
  if (!(first instanceof PublicKeyPacket)) {
    const kind = first instanceof UnparseablePacket ? kindOfKey(first.write()) : "unknown kind";
    const reason = `a key of ${kind}, which is not supported`;
    // A single revocation with a damaged first octet can look like such a key.
    return packets.some(mayRevoke) || packets.length === 1
      ? doubtful(
          `it has ${reason}, with a revocation or nothing behind it: it can't be told which key it is about`,
        )
      : { ...nothing, notes: [`it has ${reason}: signatures by it don't count`] };
  }
  const list = new PacketList<AnyPacket>();
  list.push(...packets);
  const certificate = new PublicKey(list);
  const fingerprint = parseFingerprint(first.getFingerprint());
  const doubts: FileDoubt[] = [];
  if (packets.some((packet) => packet instanceof UnparseablePacket && mayRevoke(packet))) {
    const reason = "it has a revocation of a version or with an algorithm that is not supported";
    doubts.push({ reason, keys: [fingerprint] });
  }
  // openpgp.js drops revocations behind a subkey that it can't read, and subkey revocations without a subkey before them.
  const kept = new Set([certificate, ...certificate.subkeys].flatMap((key) => key.revocationSignatures));
  const dropped = packets.filter((packet) => packet instanceof SignaturePacket && !kept.has(packet));
  const hasUnreadSubkey = packets.some(
    (packet) => packet instanceof UnparseablePacket && isTag(packet, enums.packet.publicSubkey),
  );
  if (!hasUnreadSubkey && dropped.some((packet) => typeOf(packet) === kinds.subkeyRevocation))
    doubts.push({ reason: "it has a revocation of a subkey without the subkey", keys: [fingerprint] });
  if (dropped.some((packet) => !knownTypes.has(typeOf(packet))))
    doubts.push({ reason: "it has a signature of an unknown type", keys: [fingerprint] });
  const revocations = dropped
    .filter(isKeyRevocation)
    .map((signature) => ({ signature, precedingKey: fingerprint }));
  return { ...nothing, certificates: [certificate], revocations, doubts };
}

function readStandalone(packets: readonly AnyPacket[]): KeyFile {
  const revocations: FileRevocation[] = [];
  const doubts: FileDoubt[] = [];
  const notes: string[] = [];
  for (const packet of packets) {
    const type = isTag(packet, enums.packet.signature) ? typeOf(packet) : undefined;
    if (isKeyRevocation(packet)) revocations.push({ signature: packet });
    else if (type === kinds.binary || type === kinds.text) notes.push("it has a signature of a document");
    else if (type === undefined)
      doubts.push({ reason: "it begins in the middle of a certificate, whose first part is missing" });
    else {
      const reason = "it has a signature that can't be applied on its own, such as a subkey's revocation";
      doubts.push({ reason: `${reason}; ${howToExport}` });
    }
  }
  return { ...nothing, revocations, doubts, notes };
}

function isKeyRevocation(packet: AnyPacket): packet is SignaturePacket {
  return packet instanceof SignaturePacket && typeOf(packet) === kinds.keyRevocation;
}

function mayRevoke(packet: AnyPacket): boolean {
  return isTag(packet, enums.packet.signature) && revocationTypes.has(typeOf(packet));
}

/**
 * Returns the type of a signature. If openpgp.js can't parse it, the version tells where the type
 * is (RFC 9580, sections 5.2.2 and 5.2.3). An unknown version counts as a revocation, to be safe.
 */
function typeOf(packet: AnyPacket): number {
  if (packet instanceof SignaturePacket) return packet.signatureType ?? kinds.keyRevocation;
  const [version = 0, second = 0, third = 0] = packet.write();
  if (version < 2 || version > 6) return kinds.keyRevocation;
  return version < 4 ? third : second;
}

/**
 * Describes an unsupported key: `version 4 with algorithm 30` (positions: RFC 9580, section 5.5.2).
 */
function kindOfKey([version = 0, , , , , algorithm = 0]: Uint8Array): string {
  return version < 4 ? `version ${version}` : `version ${version} with algorithm ${algorithm}`;
}

function isTag(packet: AnyPacket, ...tags: readonly enums.packet[]): boolean {
  const tag: unknown =
    packet instanceof UnparseablePacket ? packet.tag : Reflect.get(packet.constructor, "tag");
  return tags.some((one) => one === tag);
}

/** Tells UTF-8 text from packets: letters beyond ASCII have the highest bit set too. */
function isText(bytes: Uint8Array): boolean {
  if (bytes.length < 16) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Recognizes PNG and JPEG: people keep portraits beside their keys. */
function isPicture(bytes: Uint8Array): boolean {
  return /^(?:89504e470d0a1a0a|ffd8ff)/.test(hexOf(bytes.subarray(0, 8)));
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
