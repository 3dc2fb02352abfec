import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type BuildContext, withBuildContext } from "../../../buildkit/client/context-folder.ts";
import type { Endpoint } from "../../../buildkit/client/endpoint.ts";
import type { ProgressEvent } from "../../../buildkit/client/progress.ts";
import { type SolveRequest, type SolveResult, solve } from "../../../buildkit/client/solve.ts";
import { acquireDaemon, type DaemonUse } from "../../../buildkit/daemon/daemon.ts";
import type { DaemonPrograms } from "../../../buildkit/daemon/daemon-process.ts";
import { targetsPy } from "../../../distro/generator/targets-py.ts";
import { type Digest, hexOf, parseDigest } from "../../../oci/digest.ts";
import { realTool } from "../real-tools.ts";

/** The programs of a private daemon, and its client; only for tests that need the real tools. */
export const programs = () => ({ buildkitd: realTool("buildkitd"), runc: realTool("runc") });
export const buildctl = () => realTool("buildctl");

/** The parts of a request that a test sets; the rest is as for a plain `core-test`. */
export type Recipe = Partial<
  Pick<
    SolveRequest,
    "target" | "platforms" | "buildArgs" | "dependencies" | "repositories" | "version" | "noCache" | "proxy"
  >
> & {
  /** Changes the Containerfile before BuildKit gets it. */
  readonly rewrite?: (text: string) => string;
  readonly containerfile: string;
  /** Files of the package's folder: path -> content. */
  readonly files?: Readonly<Record<string, string | Buffer>>;
  /** Sources: file name -> content, or the file that has it. */
  readonly sources?: Readonly<Record<string, string | Buffer | { readonly at: string }>>;
};

/** A workspace for build tests: a temporary folder with daemons, a store, and the probe program. */
export class BuildWorkspace {
  readonly folder: string;
  readonly store: string;
  /** The probe, a static program. */
  readonly probe: Buffer;
  readonly #uses: DaemonUse[] = [];
  #count = 0;

  private constructor(folder: string, probe: Buffer) {
    this.folder = folder;
    this.store = join(folder, "store");
    this.probe = probe;
  }

  static async open(): Promise<BuildWorkspace> {
    const folder = await mkdtemp(join(tmpdir(), "stagex-build-"));
    const source = fileURLToPath(new URL("../programs/probe.c", import.meta.url));
    await promisify(execFile)("gcc", ["-static", "-Os", "-s", "-o", join(folder, "probe"), source]);
    return new BuildWorkspace(folder, await readFile(join(folder, "probe")));
  }

  /**
   * Starts using the daemon whose state is in this named folder; ends with the workspace.
   * @param changed programs other than the set-up's
   */
  async daemon(
    name = "daemon",
    changed: Partial<DaemonPrograms> = {},
  ): Promise<{ use: DaemonUse; endpoint: Endpoint; root: string }> {
    const root = join(this.folder, name);
    const use = await acquireDaemon({ ...programs(), ...changed, root });
    this.#uses.push(use);
    return { use, root, endpoint: { address: use.address, buildctl: buildctl() } };
  }

  /** Builds the recipe and returns the layout, its digests and its progress. */
  async build(
    endpoint: Endpoint,
    recipe: Recipe,
    signal?: AbortSignal,
    onActivity?: () => void,
  ): Promise<Built> {
    const number = ++this.#count;
    const log = join(this.folder, `log-${number}`);
    const events: ProgressEvent[] = [];
    const options = {
      log,
      onProgress: (event: ProgressEvent) => events.push(event),
      ...(signal ? { signal } : {}),
      ...(onActivity ? { onActivity } : {}),
    };
    const solved = await this.#withContext(recipe, number, (context) =>
      solve(this.#request(endpoint, recipe, context, number), options),
    );
    return { ...solved, ...(await digestsOf(solved)), events, log: await readFile(log, "utf8") };
  }

  /** Returns the log of the last build, also of one that failed. */
  async lastLog(): Promise<string> {
    return await readFile(join(this.folder, `log-${this.#count}`), "utf8");
  }

  /** Puts a built image's blobs into the store. */
  async keep(built: SolveResult): Promise<void> {
    await cp(join(built.layout, "blobs"), join(this.store, "blobs"), { recursive: true });
  }

  /** Returns the remaining temporary folders and unfinished layouts. */
  async leftovers(): Promise<string[]> {
    return await readdir(join(this.folder, "scratch"));
  }

  async close(): Promise<void> {
    for (const use of this.#uses) await use.release();
    // A daemon's reaper may take its lock once more while the folder is removed.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #withContext<T>(
    recipe: Recipe,
    number: number,
    work: (context: BuildContext) => Promise<T>,
  ): Promise<T> {
    const folder = join(this.folder, `package-${number}`);
    const files: Record<string, string | Buffer> = { Containerfile: recipe.containerfile, ...recipe.files };
    for (const [path, content] of Object.entries(files)) await put(join(folder, path), content);
    const sources = Object.entries(recipe.sources ?? {}).map(async ([file, content]) => {
      if (typeof content === "object" && !Buffer.isBuffer(content)) return { file, path: content.at };
      const path = join(this.folder, `sources-${number}`, file);
      await put(path, content);
      return { file, path };
    });
    return await withBuildContext(
      {
        folder,
        files: Object.entries(files).map(([path, content]) => ({
          path,
          mode: path === "probe" ? "100755" : "100644",
          sha256: sha256(content),
        })),
        recipe: { path: join(folder, "Containerfile"), sha256: sha256(recipe.containerfile) },
        sources: await Promise.all(sources),
        scratch: join(this.folder, "scratch"),
        ...(recipe.rewrite ? { rewrite: recipe.rewrite } : {}),
      },
      work,
    );
  }

  #request(endpoint: Endpoint, recipe: Recipe, context: BuildContext, number: number): SolveRequest {
    return {
      ...{
        endpoint,
        context,
        image: "core-test",
        assembly: targetsPy.commonOptions,
        version: recipe.version ?? "1.0",
        target: recipe.target ?? null,
      },
      ...{ platforms: recipe.platforms ?? ["linux/amd64"], buildArgs: recipe.buildArgs ?? {} },
      ...{
        dependencies: recipe.dependencies ?? {},
        repositories: recipe.repositories ?? {},
        store: this.store,
        scratch: join(this.folder, "scratch"),
      },
      noCache: recipe.noCache ?? false,
      ...(recipe.proxy ? { proxy: recipe.proxy } : {}),
      destination: join(this.folder, "built", String(number)),
    };
  }
}

/** A built image: its index's digest, and each manifest's with its platform. */
export type Built = SolveResult & {
  readonly index: Digest;
  readonly manifests: readonly { readonly digest: Digest; readonly platform: string }[];
  readonly events: readonly ProgressEvent[];
  readonly log: string;
};

type Descriptor = { digest: string; platform?: { os: string; architecture: string } };

async function digestsOf({ layout }: SolveResult): Promise<Pick<Built, "index" | "manifests">> {
  const top = JSON.parse(await readFile(join(layout, "index.json"), "utf8")) as { manifests: Descriptor[] };
  const index = parseDigest(top.manifests[0]?.digest ?? "");
  const { manifests } = (await readBlob(layout, index)) as { manifests: Descriptor[] };
  return {
    index,
    manifests: manifests.map(({ digest, platform }) => ({
      digest: parseDigest(digest),
      platform: `${platform?.os}/${platform?.architecture}`,
    })),
  };
}

/** Reads a JSON blob of a layout. */
export async function readBlob(layout: string, digest: Digest): Promise<unknown> {
  return JSON.parse(await readFile(join(layout, "blobs/sha256", hexOf(digest)), "utf8"));
}

/** Unpacks an image's files, all layers over each other, by the host's tar. */
export async function unpack(built: Built, folder: string): Promise<void> {
  const manifest = built.manifests[0]?.digest;
  if (manifest === undefined) throw new Error("an image without manifest");
  const { layers } = (await readBlob(built.layout, manifest)) as { layers: Descriptor[] };
  await mkdir(folder, { recursive: true });
  for (const layer of layers) {
    const file = join(built.layout, "blobs/sha256", hexOf(parseDigest(layer.digest)));
    await promisify(execFile)("tar", ["-xzf", file, "-C", folder]);
  }
}

export function sha256(content: string | Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Makes the server listen on loopback, and returns the port. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return address.port;
}

async function put(path: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}
