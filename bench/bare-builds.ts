import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ReleaseGraph, releaseImage } from "./release-tree.ts";

export type BareBuilds = {
  readonly tree: string;
  readonly graph: ReleaseGraph;
  readonly buildctl: string;
  /** The daemon's address. */
  readonly address: string;
  /** Images that are built at once. */
  readonly atOnce: number;
  /** The folder for the images, each in one of its own. */
  readonly out: string;
};

/**
 * Builds a tree of {@link writeReleaseTree} with bare `buildctl`, as a script without fetches,
 * checks and records would. Each image is begun as soon as its dependencies are there.
 */
export async function buildBare(request: BareBuilds): Promise<Map<string, string>> {
  const { graph, atOnce } = request;
  const digests = new Map<string, string>();
  const begun = new Set<number>();
  const isReady = (number: number) => (graph[number] ?? []).every((each) => digests.has(releaseImage(each)));
  const underWay = new Set<Promise<void>>();
  while (digests.size < graph.length) {
    for (const number of graph.keys()) {
      if (underWay.size >= atOnce) break;
      if (begun.has(number) || !isReady(number)) continue;
      begun.add(number);
      const build: Promise<void> = buildOne(request, number, digests).then((digest) => {
        digests.set(releaseImage(number), digest);
        underWay.delete(build);
      });
      underWay.add(build);
    }
    await Promise.race(underWay);
  }
  return digests;
}

/**
 * Builds one image with StageX's own arguments (src/targets.py), and those that a private daemon of
 * ours needs.
 */
async function buildOne(
  { tree, graph, buildctl, address, out }: BareBuilds,
  number: number,
  digests: ReadonlyMap<string, string>,
): Promise<string> {
  const image = releaseImage(number);
  const folder = join(tree, "packages/user", `p${number}`);
  const destination = join(out, image);
  await mkdir(destination, { recursive: true });
  const dependencies = (graph[number] ?? []).map(releaseImage);
  const options = [
    ...[
      "filename=Containerfile",
      "platform=linux/amd64",
      "ulimit=nofile=2048:16384",
      "force-network-mode=none",
    ],
    ...["SOURCE_DATE_EPOCH=1", "BUILDKIT_MULTI_PLATFORM=1"].map((each) => `build-arg:${each}`),
    ...["VERSION=1.0.0", "VERSION_UNDER=1_0_0", "VERSION_DASH=1-0-0"].map((each) => `build-arg:${each}`),
    ...["VERSION_MAJOR=1", "VERSION_MAJOR_MINOR=1.0"].map((each) => `build-arg:${each}`),
    "build-arg:VERSION_STRIP_SUFFIX=1.0.0",
    "build-arg:BUILDKIT_DOCKERFILE_CHECK=skip=FromPlatformFlagConstDisallowed;error=true",
    ...dependencies.map((each) => `context:stagex/${each}=oci-layout:${each}@${digests.get(each)}`),
  ];
  const output = [
    ...["type=oci", "tar=false", `name=stagex/${image}:1.0.0`, `dest=${destination}`],
    ...["rewrite-timestamp=true", "force-compression=true", "oci-mediatypes=true"],
    `annotation.containerd.io/distribution.source.docker.io=stagex/${image}`,
    "annotation.org.opencontainers.image.version=1.0.0",
    "annotation.org.opencontainers.image.created=1970-01-01T00:00:01Z",
  ];
  const args = [
    ...["--addr", address, "build", "--frontend", "dockerfile.v0", "--progress", "rawjson"],
    ...["--local", `context=${folder}`, "--local", `dockerfile=${folder}`],
    ...dependencies.flatMap((each) => ["--oci-layout", `${each}=${join(out, each)}`]),
    ...options.flatMap((option) => ["--opt", option]),
    ...["--output", output.join(",")],
  ];
  const client = spawn(buildctl, args, { stdio: ["ignore", "ignore", "ignore"] });
  const [code] = await once(client, "close");
  if (code !== 0) throw new Error(`${image}: the bare buildctl ended with ${code}`);
  return await digestIn(destination);
}

/** Returns the digest that StageX publishes: that of the first manifest in the image's index. */
export async function digestIn(layout: string): Promise<string> {
  const first = async (path: string): Promise<string> => {
    const index = JSON.parse(await readFile(join(layout, path), "utf8")) as {
      manifests: { digest: string }[];
    };
    const [manifest] = index.manifests;
    if (!manifest) throw new Error(`${layout}: ${path} names no manifest`);
    return manifest.digest;
  };
  return await first(`blobs/sha256/${(await first("index.json")).slice("sha256:".length)}`);
}
