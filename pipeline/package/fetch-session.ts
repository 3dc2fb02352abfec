import { randomUUID } from "node:crypto";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SolveError } from "../../buildkit/client/solve-error.ts";
import { proxyCommand, proxyFlags, type StepProxy } from "../../buildkit/client/step-proxy.ts";
import { ensureUserRunFolder } from "../../buildkit/daemon/daemon-folders.ts";
import type { RunWrapper } from "../../distro/recipe/fetching-runs.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { printableLine } from "../../lib/text/printable.ts";
import type { FetchAnswer } from "../../sources/recording/fetch-record.ts";
import { RecordingProxy, type RecordingProxyOptions } from "../../sources/recording/recording-proxy.ts";
import { createAuthority, issueCertificate } from "../../trust/certificate-authority.ts";

export type FetchSessionOptions = Pick<
  RecordingProxyOptions,
  "cache" | "known" | "upstream" | "onRequest" | "limits"
> & {
  /** The image that is built, for errors. */
  readonly image: string;
  /**
   * The program `with-proxy` for amd64, with those for other machines beside it
   * (tools/go/with-proxy).
   */
  readonly program: string;
  /** The folder for temporary folders. */
  readonly scratch: string;
};

/** A proxy for the fetching steps of a build. */
export type FetchSession = {
  readonly wrapping: RunWrapper;
  /** The answers recorded so far. */
  readonly answers: readonly FetchAnswer[];
  /** Returns the proxy for the steps of one solve, for this platform. */
  proxyFor(platform: string): Promise<StepProxy>;
  /**
   * Runs a solve and checks its requests.
   * @throws FetchError where a request was refused, even if the program that sent it went on
   */
  guard<T>(solve: () => Promise<T>): Promise<T>;
};

/** A build sent a request that is not allowed. Its result is not used. */
export class FetchError extends Error {
  override readonly name = "FetchError";

  constructor(image: string, problems: readonly string[], isReplay: boolean, cause: unknown) {
    const lines = problems.map((problem) => `\n  ${printableLine(problem)}`).join("");
    const rule = isReplay
      ? "It has a fetch record, and only what that lists is answered. Delete the record to fetch anew"
      : "Recipes may fetch by GET, HEAD and git's fetch, by way of the proxy that their environment names";
    const failure = cause instanceof Error ? `\n${cause.message}` : "";
    super(`${printableLine(image)}: its recipe fetches what it can't be given:${lines}\n${rule}.${failure}`, {
      cause,
    });
  }
}

/** In bytes. */
const largestProgram = 64 * 1024 * 1024;

/** Validity of the certificate authority: longer than any build. */
const days = 30;

/**
 * Runs a build with a proxy for its steps that fetch, under a certificate authority of this build
 * alone.
 */
export async function withFetchSession<T>(
  options: FetchSessionOptions,
  build: (session: FetchSession) => Promise<T>,
): Promise<T> {
  const run = join(await ensureUserRunFolder(), "fetch");
  return await withTempDir(options.scratch, (folder) =>
    withTempDir(run, async (short) => {
      const authority = await createAuthority(`fetches of ${options.image}`, days);
      const certify = (host: string) =>
        issueCertificate(authority, { commonName: "fetched", names: [host], side: "server", days });
      const socket = join(short, "s");
      const proxy = await RecordingProxy.listen(socket, { ...options, certify });
      // A random name, so that a recipe that mounts a socket itself does not get this one.
      const id = `deps-${randomUUID()}`;
      const tools = new Map<string, Promise<string>>();
      const toolsFor = (arch: string): Promise<string> => {
        const made = tools.get(arch) ?? makeTools(join(folder, arch), options, arch, authority.certificate);
        tools.set(arch, made);
        return made;
      };
      try {
        return await build({
          wrapping: { flags: proxyFlags({ id }), command: proxyCommand },
          get answers() {
            return proxy.answers;
          },
          proxyFor: async (platform) => ({ socket, id, tools: await toolsFor(archOf(platform)) }),
          guard: (solve) => guarded(solve, proxy, options),
        });
      } finally {
        await proxy.close();
      }
    }),
  );
}

async function guarded<T>(
  solve: () => Promise<T>,
  proxy: RecordingProxy,
  { image, known }: FetchSessionOptions,
): Promise<T> {
  const fault = (cause?: unknown) =>
    new FetchError(image, [...proxy.problems, ...(cause ? proxy.refusals : [])], known !== undefined, cause);
  const solved = await solve().catch((error: unknown) => {
    // A failure of the builder or its memory is retried elsewhere.
    const isBuilders =
      !(error instanceof SolveError) || error.infrastructureFailure !== undefined || error.isOutOfMemory;
    throw isBuilders || proxy.problems.length + proxy.refusals.length === 0 ? error : fault(error);
  });
  await proxy.waitForRecordings();
  if (proxy.problems.length > 0) throw fault();
  return solved;
}

/** Returns the architecture to run the program for: amd64 runs and builds linux/386 too. */
function archOf(platform: string): string {
  const [, arch = ""] = platform.split("/");
  return arch === "386" ? "amd64" : arch;
}

async function makeTools(
  folder: string,
  { image, program }: FetchSessionOptions,
  arch: string,
  certificate: string,
): Promise<string> {
  const path = arch === "amd64" ? program : `${program}-${arch}`;
  const bytes = await readRegularFile(path, largestProgram).catch((cause: unknown) => {
    throw new Error(`${image}: its recipe fetches, which is not possible on ${arch}: there is no ${path}`, {
      cause,
    });
  });
  await mkdir(folder);
  await writeFile(join(folder, "with-proxy"), bytes);
  await writeFile(join(folder, "ca.pem"), certificate);
  // Regardless of the umask: steps of other users than root run and read them too.
  await chmod(join(folder, "with-proxy"), 0o755);
  await chmod(join(folder, "ca.pem"), 0o644);
  return folder;
}
