import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { runBuildctl } from "./buildctl.ts";
import { prepareBuildEnvironment } from "./client-environment.ts";
import type { Endpoint } from "./endpoint.ts";
import { ProgressReader } from "./progress.ts";

/** The beginning of a kernel's /proc/cpuinfo, and its release. Empty where unknown. */
export type KernelInfo = { readonly cpuinfo: string; readonly release: string };

/** In milliseconds: an idle builder needs a second, a busy one longer. */
const probeTimeout = 60_000;

/**
 * Reads a builder's CPU and kernel, which BuildKit does not report: the quorum asks for distinct
 * CPU vendors, and a declared vendor may be wrong. The builder runs a tiny program that prints two
 * files of its kernel. That needs no image, and leaves two cached layers.
 * @param platform the builder's own: an emulated one would show the emulator's CPU
 * @throws where the builder can't run the program
 */
export async function probeCpu(
  endpoint: Endpoint,
  platform: string,
  scratch: string,
  signal?: AbortSignal,
): Promise<KernelInfo> {
  const program = programs[platform.split("/")[1] ?? ""];
  if (program === undefined) return { cpuinfo: "", release: "" };
  return await withTempDir(scratch, async (folder) => {
    const context = join(folder, "context");
    await mkdir(context);
    await writeFile(join(context, "show"), executable(program));
    await writeFile(join(context, "Containerfile"), containerfile);
    const request = [
      ...["build", "--frontend", "dockerfile.v0", "--progress", "rawjson", "--no-cache"],
      ...["--local", `context=${context}`, "--local", `dockerfile=${context}`],
      ...["--opt", "filename=Containerfile", "--opt", `platform=${platform}`],
      ...["--opt", "force-network-mode=none"],
    ];
    const timeout = AbortSignal.timeout(probeTimeout);
    const { stderr } = await runBuildctl(endpoint, request, {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      environment: await prepareBuildEnvironment(endpoint, folder),
    });
    return parseOutput(stderr);
  });
}

/** Extracts the output of the two steps from a solve's progress. */
function parseOutput(rawProgress: string): KernelInfo {
  const shown = new Map<string, string[]>();
  const names = new Map<string, string>();
  const progress = new ProgressReader(
    () => {},
    (line) => {
      const [, number = "", text = ""] = /^#(\d+) (.*)$/s.exec(line) ?? [];
      const file = /RUN \["\/show", "([^"]+)"\]/.exec(text)?.[1];
      if (file !== undefined) names.set(number, file);
      const output = /^\d+\.\d+ (.*)$/s.exec(text)?.[1];
      if (output !== undefined) shown.set(number, [...(shown.get(number) ?? []), output]);
    },
  );
  for (const line of rawProgress.split("\n")) progress.readLine(line);
  progress.end();
  const linesOf = (file: string) =>
    [...shown].filter(([number]) => names.get(number) === file).flatMap(([, lines]) => lines);
  return {
    cpuinfo: linesOf("/proc/cpuinfo").join("\n"),
    release: linesOf("/proc/sys/kernel/osrelease")[0]?.trim() ?? "",
  };
}

const containerfile = `FROM scratch
COPY --chmod=755 show /show
RUN ["/show", "/proc/cpuinfo"]
RUN ["/show", "/proc/sys/kernel/osrelease"]
`;

/**
 * A program for Linux on one architecture that prints the first 4096 bytes of the file in its
 * argument: `machine` is the architecture's number in ELF, `code` the instructions in hex.
 */
type Program = { readonly machine: number; readonly code: readonly string[] };

const programs: Readonly<Record<string, Program>> = {
  amd64: {
    machine: 62,
    code: [
      "488b7c241031f6b8020000000f05", // mov rdi,[rsp+16]; xor esi,esi; mov eax,2 (open); syscall
      "89c74881ec001000004889e6", // mov edi,eax; sub rsp,4096; mov rsi,rsp
      "ba0010000031c00f05", // mov edx,4096; xor eax,eax (read); syscall
      "89c2bf01000000b8010000000f05", // mov edx,eax; mov edi,1; mov eax,1 (write); syscall
      "31ffb83c0000000f05", // xor edi,edi; mov eax,60 (exit); syscall
    ],
  },
  arm64: {
    machine: 183,
    code: [
      "e10b40f9600c801202008052", // ldr x1,[sp,#16]; mov w0,#-100 (AT_FDCWD); mov w2,#0
      "03008052080780d2010000d4", // mov w3,#0; mov x8,#56 (openat); svc #0
      "ff0740d1e1030091020082d2", // sub sp,sp,#4096; mov x1,sp; mov x2,#4096
      "e80780d2010000d4", // mov x8,#63 (read); svc #0
      "e20300aa200080d2080880d2010000d4", // mov x2,x0; mov x0,#1; mov x8,#64 (write); svc #0
      "000080d2a80b80d2010000d4", // mov x0,#0; mov x8,#93 (exit); svc #0
    ],
  },
};

/** Returns an ELF file (elf(5)) with one segment, which is the whole file. */
function executable({ machine, code }: Program): Buffer {
  const [base, headers] = [0x400000n, 64 + 56];
  const instructions = Buffer.from(code.join(""), "hex");
  const size = BigInt(headers + instructions.length);
  const file = Buffer.alloc(headers);
  file.write("\x7fELF\x02\x01\x01", "latin1");
  file.writeUInt16LE(2, 16); // an executable
  file.writeUInt16LE(machine, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(base + BigInt(headers), 24); // the entry point
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt32LE(1, 64); // loaded
  file.writeUInt32LE(5, 68); // readable and executable
  file.writeBigUInt64LE(base, 80);
  file.writeBigUInt64LE(base, 88);
  file.writeBigUInt64LE(size, 96);
  file.writeBigUInt64LE(size, 104);
  file.writeBigUInt64LE(0x10000n, 112);
  return Buffer.concat([file, instructions]);
}
