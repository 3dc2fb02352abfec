import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { programsIn } from "../../../../components/builder-fleet/aws-programs.ts";
import { scratchFolder } from "../../../fixtures/scratch-folder.ts";

/** The start of an ELF file for a machine (62: x86-64, 183: AArch64), and what else it says. */
function elf(machine: number, rest = ""): Buffer {
  const header = Buffer.alloc(20);
  header.write("\x7fELF", "latin1");
  header.writeUInt16LE(machine, 18);
  return Buffer.concat([header, Buffer.from(rest)]);
}

async function places(programs: Record<string, Buffer>): Promise<{ folders: string[]; staging: string }> {
  const folder = await scratchFolder();
  const tools = join(folder, "tools");
  await mkdir(tools);
  for (const [name, bytes] of Object.entries(programs)) await writeFile(join(tools, name), bytes);
  return { folders: [tools], staging: join(folder, "staging") };
}

test("programs are staged under their hash, and a runc that calls another brings it along", async () => {
  const own = await places({
    buildkitd: elf(62, "d"),
    runc: elf(62, "r"),
    "runc.real": elf(62, "rr"),
    other: elf(62),
  });
  const found = await programsIn(own, "amd64");
  expect(found.map(({ name }) => name)).toEqual(["buildkitd", "runc", "runc.real"]);
  for (const { path, sha256 } of found) expect(path).toBe(join(own.staging, sha256));
  expect(await readFile(found[1]?.path ?? "")).toEqual(elf(62, "r"));
  expect(await programsIn(own, "amd64")).toEqual(found);
});

test("what is missing is said with the key that mends it", async () => {
  const own = await places({ buildkitd: elf(183) });
  await expect(programsIn(own, "arm64")).rejects.toThrow(
    /no runc for arm64 builders.*stagex:aws\.programs\.arm64/,
  );
  await expect(programsIn({ ...own, folders: [] }, "arm64")).rejects.toThrow(/no buildkitd and no runc/);
});

test("a program for another machine is refused before it is uploaded", async () => {
  const own = await places({ buildkitd: elf(62), runc: elf(62) });
  await expect(programsIn(own, "arm64")).rejects.toThrow(/is for amd64, and arm64 builders/);
  const script = await places({ buildkitd: Buffer.from("#!/bin/sh\n"), runc: elf(62) });
  await expect(programsIn(script, "amd64")).rejects.toThrow(/no machine known here/);
});

test("a program that a builder's C library is too old for is refused", async () => {
  const dynamic = "/lib64/ld-linux-x86-64.so.2 GLIBC_2.2.5 GLIBC_2.";
  const newer = await places({ buildkitd: elf(62), runc: elf(62, `${dynamic}38`) });
  await expect(programsIn(newer, "amd64")).rejects.toThrow(
    /needs the C library 2\.38, and builders have 2\.34/,
  );
  const older = await places({ buildkitd: elf(62), runc: elf(62, `${dynamic}34`) });
  expect(await programsIn(older, "amd64")).toHaveLength(2);
});
