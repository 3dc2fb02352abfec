import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { userRunFolder } from "../../../buildkit/daemon-folders.ts";
import { proxyCommand, proxyFlags, type StepProxy } from "../../../buildkit/proxied-steps.ts";
import { withWorkFolder } from "../../../buildkit/work-folder.ts";
import type { Wrapping } from "../../../distro/fetching-runs.ts";
import { printableLine } from "../../../lib/printable.ts";
import { readRegularFile } from "../../../lib/regular-file.ts";
import type { FetchAnswer } from "../../../sources/fetch-record.ts";
import { RecordingProxy, type RecordingProxyOptions } from "../../../sources/recording-proxy.ts";
import { newAuthority, newCertificate } from "../../../trust/certificate-authority.ts";

export type FetchSessionOptions = Pick<
  RecordingProxyOptions,
  "cache" | "known" | "upstream" | "onRequest"
> & {
  /** The image that is built, for errors. */
  readonly image: string;
  /** The program `with-proxy` of the platform that is built (tools/go/with-proxy). */
  readonly program: string;
  /** The folder for temporary folders. */
  readonly scratch: string;
};

/** What a build is given to fetch with. */
export type FetchSession = { readonly proxy: StepProxy; readonly wrapping: Wrapping };

/** That a build asked for what it can't be given. Nothing is built of it. */
export class FetchError extends Error {
  override readonly name = "FetchError";

  constructor(image: string, problems: readonly string[], isReplay: boolean, cause: unknown) {
    const lines = problems.map((problem) => `\n  ${printableLine(problem)}`).join("");
    const rule = isReplay
      ? "It has a fetch record, and only what that lists is answered. Remove the record to fetch anew"
      : "Recipes may fetch by GET, HEAD and git's fetch, by way of the proxy that their environment names";
    super(`${printableLine(image)}: its recipe fetches what it can't be given:${lines}\n${rule}.`, { cause });
  }
}

/** In bytes. */
const largestProgram = 64 * 1024 * 1024;

/** Longer than any build, and than clocks differ. */
const days = 30;

/**
 * Runs a build with a proxy for its steps that fetch, whose authority is of this build alone.
 * @returns what the build returns, and what it was answered
 * @throws FetchError where it asked for anything else, even if no program of it minded
 */
export async function withFetchSession<T>(
  options: FetchSessionOptions,
  build: (session: FetchSession) => Promise<T>,
): Promise<{ readonly result: T; readonly answers: readonly FetchAnswer[] }> {
  const run = join(await userRunFolder(), "fetch");
  return await withWorkFolder(options.scratch, (tools) =>
    withWorkFolder(run, async (folder) => {
      const authority = await newAuthority(`fetches of ${options.image}`, days);
      const program = await readRegularFile(options.program, largestProgram);
      await writeFile(join(tools, "with-proxy"), program, { mode: 0o755 });
      await writeFile(join(tools, "ca.pem"), authority.certificate, { mode: 0o644 });
      const certify = (host: string) =>
        newCertificate(authority, { commonName: "fetched", names: [host], side: "server", days });
      const socket = join(folder, "s");
      await mkdir(dirname(socket), { recursive: true, mode: 0o700 });
      const proxy = await RecordingProxy.listen(socket, { ...options, certify });
      // A random name: a recipe that mounts a socket by itself does not get this one.
      const id = `deps-${randomUUID()}`;
      const wrapping = { flags: proxyFlags({ id }), command: proxyCommand };
      const failure = (cause?: unknown) =>
        new FetchError(options.image, proxy.problems, options.known !== undefined, cause);
      try {
        const result = await build({ proxy: { socket, id, tools }, wrapping }).catch((error: unknown) => {
          throw proxy.problems.length > 0 ? failure(error) : error;
        });
        if (proxy.problems.length > 0) throw failure();
        return { result, answers: proxy.answers };
      } finally {
        await proxy.close();
      }
    }),
  );
}
