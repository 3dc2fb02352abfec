import { execFile } from "node:child_process";
import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint } from "../../buildkit/endpoint.ts";
import { parseContainerfile } from "../../distro/containerfile.ts";
import { wrapFetchingRuns } from "../../distro/fetching-runs.ts";
import { withFetchSession } from "../../providers/stagex/package/fetch-session.ts";
import type { FetchAnswer } from "../../sources/fetch-record.ts";
import { SourceCache } from "../../sources/source-cache.ts";
import { PackageRegistry } from "../fixtures/package-registry.ts";
import { describeReal, realTool } from "../real-tools.ts";
import { Bench, type Built, type Recipe } from "./bench.ts";

const run = promisify(execFile);

describeReal("a recipe that fetches", () => {
  let bench: Bench;
  let endpoint: Endpoint;
  let cache: SourceCache;
  let registry: PackageRegistry;
  let pallet: Buffer;

  beforeAll(async () => {
    bench = await Bench.open();
    ({ endpoint } = await bench.daemon());
    cache = await SourceCache.open(join(bench.folder, "sources"));
    registry = await PackageRegistry.start();
    registry.addModule("registry.test/greeting", "v1.0.0", "package greeting\n");
    pallet = await goPallet(bench.folder);
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await bench?.close();
  });

  async function fetched(
    recipe: Recipe,
    known?: readonly FetchAnswer[],
  ): Promise<{ result: Built; answers: readonly FetchAnswer[] }> {
    const { bases } = parseContainerfile("Containerfile", recipe.containerfile);
    return await withFetchSession(
      {
        ...{
          image: "core-test",
          cache,
          known,
          program: realTool("with-proxy"),
          scratch: join(bench.folder, "scratch"),
        },
        upstream: {
          ca: registry.authority,
          mayAsk: () => true,
          mayBePrivate: (host) => host === "registry.test",
          addressesOf: async () => ["127.0.0.1"],
        },
      },
      ({ proxy, wrapping }) =>
        bench.build(endpoint, {
          ...recipe,
          proxy,
          rewrite: (text) => wrapFetchingRuns(text, { bases }, { shells: new Map(), wrapping }),
        }),
    );
  }

  test("go mod download", async () => {
    const recipe: Recipe = {
      containerfile: `FROM scratch AS build
ADD fetch/pallet.tar /
ENV PATH=/go/bin HOME=/root GOROOT=/go GOTOOLCHAIN=local GONOSUMDB=* GOFLAGS=-modcacherw
ENV GOPROXY=${registry.url}/go
WORKDIR /app
COPY go.mod .
RUN go mod download -x && go mod verify
FROM scratch AS package
COPY --from=build /root/go/pkg/mod/registry.test/greeting@v1.0.0/ /
`,
      files: { "go.mod": "module app\n\ngo 1.20\n\nrequire registry.test/greeting v1.0.0\n" },
      sources: { "pallet.tar": pallet },
    };
    const first = await fetched(recipe);
    await registry[Symbol.asyncDispose]();
    const second = await fetched(recipe, first.answers);
    expect(second.result.index).toBe(first.result.index);
  });
});

/** A stand-in for a pallet: this machine's Go and a shell, with the libraries that it needs. */
async function goPallet(folder: string): Promise<Buffer> {
  const root = join(folder, "pallet");
  await mkdir(join(root, "go/bin"), { recursive: true });
  await mkdir(join(root, "bin"));
  const { stdout: goroot } = await run("go", ["env", "GOROOT"], {
    env: { ...process.env, GOTOOLCHAIN: "local" },
  });
  for (const file of ["bin/go", "go.env", "VERSION"])
    await cp(join(goroot.trim(), file), join(root, "go", file));
  await mkdir(join(root, "go/src"));
  await run("cp", ["-L", "/bin/sh", join(root, "bin/sh")]);
  const { stdout: libraries } = await run("ldd", ["/bin/sh"]);
  for (const [path] of libraries.matchAll(/\/\S+/g)) await run("cp", ["-L", "--parents", path, root]);
  await run("tar", ["-C", root, "-cf", join(folder, "pallet.tar"), "."]);
  return await readFile(join(folder, "pallet.tar"));
}
