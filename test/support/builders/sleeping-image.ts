import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Adds `user-<name>` to a tree: an image whose one RUN sleeps so many seconds, built from only
 * these files.
 */
export async function addSleepingImage(
  tree: string,
  name: string,
  seconds: number,
  dependencies: readonly string[] = [],
): Promise<void> {
  const folder = join(tree, "packages/user", name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "sleep"), sleepingProgram(seconds), { mode: 0o755 });
  const uses = dependencies.map((image, index) => `COPY --from=stagex/${image} . /${index}/\n`);
  await writeFile(
    join(folder, "Containerfile"),
    `FROM scratch AS build\n${uses.join("")}COPY sleep /\nRUN --network=none ["/sleep"]\nFROM scratch AS package\nCOPY --from=build /sleep /bin/${name}\n`,
  );
  await writeFile(
    join(folder, "package.toml"),
    `[package]\nname = "${name}"\nversion = "1.0.0"\ndescription = "Sleeper"\nlicense = "CC0-1.0"\nwebsite = "https://seed-tree.example"\n`,
  );
}

/** Returns a static program for amd64: nanosleep(2), then exit(2) with 0. */
function sleepingProgram(seconds: number): Uint8Array {
  const code = [
    ...[0x6a, 0x00, 0x68, ...littleEndian(seconds, 4), 0x48, 0x89, 0xe7], // push 0; push seconds; mov rdi, rsp
    ...[0x31, 0xf6, 0x6a, 0x23, 0x58, 0x0f, 0x05], // xor esi, esi; push 35; pop rax; syscall
    ...[0x31, 0xff, 0x6a, 0x3c, 0x58, 0x0f, 0x05], // xor edi, edi; push 60; pop rax; syscall
  ];
  const base = 0x400000;
  const headers = 64 + 56;
  const size = headers + code.length;
  return Uint8Array.from([
    ...[0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[2, 0, 0x3e, 0, 1, 0, 0, 0, ...littleEndian(base + headers, 8), ...littleEndian(64, 8)],
    ...[...littleEndian(0, 8), 0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ...[1, 0, 0, 0, 5, 0, 0, 0, ...littleEndian(0, 8), ...littleEndian(base, 8), ...littleEndian(base, 8)],
    ...[...littleEndian(size, 8), ...littleEndian(size, 8), ...littleEndian(0x1000, 8)],
    ...code,
  ]);
}

function littleEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, index) => Math.floor(value / 256 ** index) % 256);
}
