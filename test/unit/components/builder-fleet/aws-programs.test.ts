import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stagePrograms } from "../../../../components/builder-fleet/aws-programs.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

/** The start of an ELF file for a machine (62: x86-64, 183: AArch64), and what else it says. */
function elf(machine: number, rest = ""): Buffer {
  const header = Buffer.alloc(20);
  header.write("\x7fELF", "latin1");
  header.writeUInt16LE(machine, 18);
  return Buffer.concat([header, Buffer.from(rest)]);
}

async function paths(programs: Record<string, Buffer>): Promise<{ folders: string[]; staging: string }> {
  const folder = await scratchFolder();
  const tools = join(folder, "tools");
  await mkdir(tools);
  for (const [name, bytes] of Object.entries(programs)) await writeFile(join(tools, name), bytes);
  return { folders: [tools], staging: join(folder, "staging") };
}

/** What Go writes into the set-up's own runc, and into a real one with system-call filters. */
const hermetic = "path\tstagex/tools/runc-hermetic\n";
const filtering = "\nbuild\t-tags=seccomp\n";

/** The programs of a builder, with what is changed of them. */
function programs(changed: Record<string, Buffer> = {}): Record<string, Buffer> {
  return {
    buildkitd: elf(62, "d"),
    runc: elf(62, hermetic),
    "runc.real": elf(62, filtering),
    ...changed,
  };
}

test("stages programs under their hash, runc with the program that it becomes", async () => {
  const own = await paths(programs({ other: elf(62) }));
  const found = await stagePrograms(own, "amd64");
  expect(found.map(({ name }) => name)).toEqual(["buildkitd", "runc", "runc.real"]);
  for (const { path, sha256 } of found) expect(path).toBe(join(own.staging, sha256));
  expect(await readFile(found[1]?.path ?? "")).toEqual(elf(62, hermetic));
  expect(await stagePrograms(own, "amd64")).toEqual(found);
});

test("reports a missing program with the key that sets its folder", async () => {
  const own = await paths({ buildkitd: elf(183) });
  await expect(stagePrograms(own, "arm64")).rejects.toThrow(
    /no runc and no runc\.real for arm64 builders.*stagex:aws\.programs\.arm64/,
  );
  await expect(stagePrograms({ ...own, folders: [] }, "arm64")).rejects.toThrow(/no buildkitd and no runc/);
});

test("refuses a runc without system-call filters, or one that exposes the machine to builds", async () => {
  const unfiltered = await paths(programs({ "runc.real": elf(62, "\nbuild\t-tags=netgo,osusergo\n") }));
  await expect(stagePrograms(unfiltered, "amd64")).rejects.toThrow(
    /runc\.real has no system-call filter.*apt-get install libseccomp-dev pkg-config/,
  );
  const several = await paths(programs({ "runc.real": elf(62, "\nbuild\t-tags=netgo,seccomp,osusergo\n") }));
  expect(await stagePrograms(several, "amd64")).toHaveLength(3);
  const plain = await paths(
    programs({ runc: elf(62, `path\tgithub.com/opencontainers/runc\n${filtering}`) }),
  );
  await expect(stagePrograms(plain, "amd64")).rejects.toThrow(/runc is not the set-up's runc/);
});

test("refuses a program for another architecture", async () => {
  const own = await paths(programs());
  await expect(stagePrograms(own, "arm64")).rejects.toThrow(/is for amd64, and arm64 builders/);
  const script = await paths(programs({ buildkitd: Buffer.from("#!/bin/sh\n") }));
  await expect(stagePrograms(script, "amd64")).rejects.toThrow(/an unknown machine/);
});

test("refuses a program that needs a newer C library than builders have", async () => {
  const dynamic = "/lib64/ld-linux-x86-64.so.2 GLIBC_2.2.5 GLIBC_2.";
  const newer = await paths(programs({ "runc.real": elf(62, `${filtering}${dynamic}38`) }));
  await expect(stagePrograms(newer, "amd64")).rejects.toThrow(
    /needs the C library 2\.38, and builders have 2\.34/,
  );
  const older = await paths(programs({ "runc.real": elf(62, `${filtering}${dynamic}34`) }));
  expect(await stagePrograms(older, "amd64")).toHaveLength(3);
});
