import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { repositoryOf } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { maxSignatures, signatureFolder } from "../../trust/signatures/signature-file.ts";
import { image, judged, newKey, signedBy } from "../support/builders/maintainers.ts";

function lookaside(): { base: LookasideFolder; folder: string } {
  const root = mkdtempSync(join(tmpdir(), "stagex-lookaside-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const folder = join(root, signatureFolder(repositoryOf(image.reference), image.digest));
  mkdirSync(folder, { recursive: true });
  return { base: new LookasideFolder(root), folder };
}

const codes = (files: Awaited<ReturnType<LookasideFolder["read"]>>) =>
  files.map((one) => ("rejection" in one ? one.rejection.code : "read"));

test("reads as many of 1,000 files as podman does, and names the rest", async () => {
  const { base, folder } = lookaside();
  const alice = await newKey("alice");
  for (let number = 2; number <= 1000; number++) writeFileSync(join(folder, `signature-${number}`), "junk");
  writeFileSync(join(folder, "signature-1"), await signedBy(alice));
  const files = await base.read(repositoryOf(image.reference), image.digest);
  expect(codes(files).filter((code) => code === "read")).toHaveLength(maxSignatures);
  expect(codes(files).filter((code) => code === "too-many")).toHaveLength(1000 - maxSignatures);
  const read = files.flatMap((one) => ("bytes" in one ? [one.bytes] : []));
  expect(await judged(read, { alice: { keys: [alice] } })).toMatchObject({ people: 1 });
});

test("rejects what is no file or too large without reading it", async () => {
  const { base, folder } = lookaside();
  symlinkSync("/etc/hostname", join(folder, "signature-1"));
  execFileSync("mkfifo", [join(folder, "signature-2")]);
  mkdirSync(join(folder, "signature-3"));
  writeFileSync(join(folder, "signature-4"), Buffer.alloc(2 * 1024 * 1024));
  writeFileSync(join(folder, "signature-6"), "beyond the gap");
  writeFileSync(join(folder, "signature-07"), "another name");
  const files = await base.read(repositoryOf(image.reference), image.digest);
  expect(codes(files)).toEqual(["not-a-file", "not-a-file", "not-a-file", "too-large", "after-gap"]);
});
