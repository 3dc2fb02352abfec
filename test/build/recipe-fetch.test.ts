import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { type Endpoint, parseEndpoint } from "../../buildkit/client/endpoint.ts";
import { parseContainerfile } from "../../distro/recipe/containerfile-parser.ts";
import { wrapFetchingRuns } from "../../distro/recipe/fetching-runs.ts";
import { FetchError, withFetchSession } from "../../pipeline/package/fetch-session.ts";
import type { FetchAnswer } from "../../sources/recording/fetch-record.ts";
import { SourceCache } from "../../sources/source-cache.ts";
import { findExecutable } from "../../tools/executable.ts";
import { BuildWorkspace, type Built, type Recipe, unpack } from "../support/builders/build-workspace.ts";
import { FetchPallets } from "../support/builders/fetch-pallets.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { startProxy } from "../support/servers/connect-proxy.ts";
import { PackageRegistry } from "../support/servers/package-registry.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

const run = promisify(execFile);

/** The README does not require Rust. Under CI every test must run. */
const rust = await Promise.all(["cargo", "rustc"].map((name) => findExecutable(name, process.env)));
const hasCargo = process.env.CI !== undefined || !rust.includes(null);
if (!hasCargo) process.stderr.write("SKIPPED: the test with cargo; to run it: apt-get install cargo\n");
const testCargo = hasCargo ? test : test.skip;

describeReal("a recipe that fetches", () => {
  let bench: BuildWorkspace;
  let endpoint: Endpoint;
  let cache: SourceCache;
  let registry: PackageRegistry;
  let pallets: Record<"go" | "npm", Buffer>;
  let made: FetchPallets;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    ({ endpoint } = await bench.daemon());
    cache = await SourceCache.open(join(bench.folder, "sources"));
    registry = await PackageRegistry.start();
    registry.addModule("registry.test/greeting", "v1.0.0", "package greeting\n");
    registry.addModule("registry.test/farewell", "v1.0.0", "package farewell\n");
    made = new FetchPallets(bench.folder);
    pallets = { go: await made.go(), npm: await made.npm() };
  }, 120_000);

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await bench?.close();
  });

  type Fetched = { readonly image: Built; readonly answers: readonly FetchAnswer[] };

  async function fetched(recipe: Recipe, known?: readonly FetchAnswer[], on = endpoint): Promise<Fetched> {
    const { bases } = parseContainerfile("Containerfile", recipe.containerfile);
    const options = {
      ...{ image: "core-test", cache, known, program: realTool("with-proxy") },
      scratch: join(bench.folder, "scratch"),
      upstream: {
        ca: registry.authority,
        mayAsk: () => true,
        mayBePrivate: (host: string) => host === "registry.test",
        resolveAddresses: async () => ["127.0.0.1"],
      },
    };
    return await withFetchSession(options, async (session) => {
      const { wrapping } = session;
      const proxied = {
        ...recipe,
        proxy: await session.proxyFor("linux/amd64"),
        rewrite: (text: string) =>
          wrapFetchingRuns(text, { bases }, { shells: new Map(), wrapper: wrapping }),
      };
      const image = await session.guard(() => bench.build(on, proxied));
      return { image, answers: session.answers };
    });
  }

  /** Builds it again from what was recorded, and sees to it that nobody is asked for anything. */
  async function replayed(
    recipe: Recipe,
    { answers }: Pick<Fetched, "answers">,
    on = endpoint,
  ): Promise<Built> {
    const asked = registry.requests.length;
    const { image } = await fetched(recipe, answers, on);
    expect(registry.requests).toHaveLength(asked);
    return image;
  }

  const goRecipe = (end: string): Recipe => ({
    containerfile: `FROM scratch AS build
ADD fetch/pallet.tar /
ADD ca.pem /ca.pem
ENV PATH=/go/bin:/bin HOME=/root GOROOT=/go GOTOOLCHAIN=local GONOSUMDB=* GOFLAGS=-modcacherw GOCACHE=/dev/shm/c
ENV GOPROXY=${registry.url}/go SSL_CERT_FILE=/ca.pem
ARG VERSION=1.0.0
WORKDIR /app
COPY go.mod .
RUN go mod download && \\
  # a comment
  go mod verify
RUN <<-EOF
	set -e
	go get registry.test/farewell@v\${VERSION}
	echo 'a "quote", a \\backslash and a $' >/note
EOF
${end}`,
    files: {
      "go.mod": "module app\n\ngo 1.20\n\nrequire registry.test/greeting v1.0.0\n",
      "ca.pem": registry.authority,
    },
    sources: { "pallet.tar": pallets.go },
  });
  const scratchEnd = "FROM scratch AS package\nCOPY --from=build /root/go/pkg/mod/ /app/ /note /\n";

  test("go: recorded, then replayed without the registry", async () => {
    const recipe = goRecipe(scratchEnd);
    const first = await fetched(recipe);
    const urls = first.answers.map(({ url }) => url);
    for (const module of ["greeting", "farewell"])
      for (const end of ["info", "mod", "zip"])
        expect(urls).toContain(`${registry.url}/go/registry.test/${module}/@v/v1.0.0.${end}`);
    expect((await replayed(recipe, first)).index).toBe(first.image.index);
  });

  test("behind a proxy of the environment, which alone knows the registry, it is recorded through that", async () => {
    const { port } = new URL(registry.url);
    const host = `registry.test:${port}`;
    const proxy = await startProxy({ [host]: Number(port) });
    for (const name of ["NO_PROXY", "no_proxy", "https_proxy"]) vi.stubEnv(name, undefined);
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    onTestFinished(() => void vi.unstubAllEnvs());
    const recipe = goRecipe(scratchEnd);
    const containerfile = recipe.containerfile.replace("WORKDIR", "ENV ASKED=anew\nWORKDIR");
    const { answers } = await fetched({ ...recipe, containerfile });
    expect(answers.map(({ url }) => url)).toContain(
      `${registry.url}/go/registry.test/greeting/@v/v1.0.0.zip`,
    );
    expect(new Set(proxy.asked)).toEqual(new Set([`CONNECT ${host}`]));
    expect(proxy.asked.length).toBeGreaterThanOrEqual(answers.length);
  });

  testCargo("cargo: fetched, then compiled by a step without any network", async () => {
    const entry = registry.addCrate("greeting", "1.0.0", "#![no_std]\npub fn answer() -> u32 { 42 }\n");
    const own = '[[package]]\nname = "app"\nversion = "0.1.0"\ndependencies = [\n "greeting",\n]\n';
    const recipe: Recipe = {
      containerfile: `FROM scratch AS build
ADD fetch/pallet.tar /
ENV PATH=/bin CARGO_HOME=/cargo HOME=/root CARGO_HTTP_CAINFO=/app/ca.pem
WORKDIR /app
COPY Cargo.toml Cargo.lock ca.pem ./
COPY .cargo .cargo
COPY src src
RUN cargo fetch --locked
RUN --network=none cargo build --release --frozen
FROM scratch AS package
COPY --from=build /app/target/release/libapp.rlib /
`,
      files: {
        "Cargo.toml":
          '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\n' +
          'greeting = { version = "1.0.0", registry = "test" }\n',
        "Cargo.lock": `version = 4\n\n${own}\n${entry}`,
        "src/lib.rs": '#![no_std]\n#[no_mangle]\npub extern "C" fn app() -> u32 { greeting::answer() }\n',
        ".cargo/config.toml": `[registries.test]\nindex = "sparse+${registry.url}/index/"\n`,
        "ca.pem": registry.authority,
      },
      sources: { "pallet.tar": { at: await made.cargo() } },
    };
    const first = await fetched(recipe);
    expect(first.answers.map(({ url }) => url)).toContain(`${registry.url}/crates/greeting/1.0.0/download`);
    const root = join(bench.folder, "compiled");
    await unpack(first.image, root);
    const { stdout: members } = await run("ar", ["t", join(root, "libapp.rlib")]);
    expect(members).toMatch(/^app-.*\.o$/m);
    expect((await replayed(recipe, first)).index).toBe(first.image.index);
    expect(await withPlainNetwork(recipe)).toBe(first.image.index);
  });

  test("npm: what it tells the registry is not passed on, and it does without", async () => {
    const entry = registry.addNpmPackage("greeting", "1.0.0", "module.exports = 1;\n");
    const own = { name: "app", version: "1.0.0", dependencies: { greeting: "1.0.0" } };
    const lock = { ...own, lockfileVersion: 3, packages: { "": own, "node_modules/greeting": entry } };
    const recipe: Recipe = {
      containerfile: `FROM scratch AS build
ADD fetch/pallet.tar /
ENV PATH=/bin HOME=/root npm_config_registry=${registry.url}/npm/
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
FROM scratch AS package
COPY --from=build /app/node_modules/greeting /
`,
      files: { "package.json": JSON.stringify(own), "package-lock.json": JSON.stringify(lock) },
      sources: { "pallet.tar": pallets.npm },
    };
    const first = await fetched(recipe);
    expect(registry.requests.filter((request) => request.startsWith("POST"))).toEqual([]);
    expect((await replayed(recipe, first)).index).toBe(first.image.index);
  });

  /** What a daemon with the usual runtime gives where steps have this machine's network. */
  async function withPlainNetwork(recipe: Recipe): Promise<string> {
    const folder = join(bench.folder, "plain");
    await mkdir(folder, { recursive: true });
    const [buildctl, runc] = [join(folder, "buildctl"), join(dirname(realTool("runc")), "runc.real")];
    const hosts = "add-hosts=registry.test=127.0.0.1";
    const script = `#!/bin/bash\nexec ${realTool("buildctl")} "\${@/#force-network-mode=none/${hosts}}"\n`;
    await writeFile(buildctl, script);
    await chmod(buildctl, 0o755);
    const { endpoint: plain } = await bench.daemon("plain-daemon", { runc });
    return (await bench.build({ ...plain, buildctl }, recipe)).index;
  }

  test.each([
    ["starts from nothing", scratchEnd],
    ["inherits the steps' history", 'FROM build AS package\nRUN --network=none ["/go/bin/go", "version"]\n'],
  ])("an image that %s is the same as with a plain network, and has no trace", async (_, end) => {
    const recipe = goRecipe(end);
    const { image } = await fetched(recipe);
    const blobs = join(image.layout, "blobs/sha256");
    const traces = /stagex-fetch|with-proxy|stagex-tools|deps-[0-9a-f]{8}|127\.0\.0\.1:3128|fetches of/;
    for (const name of await readdir(blobs)) {
      const bytes = await readFile(join(blobs, name));
      const text = (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString("latin1");
      expect(traces.exec(text)?.[0]).toBeUndefined();
    }
    expect(image.index).toBe(await withPlainNetwork(recipe));
  });

  async function refusal(recipe: Recipe, known?: readonly FetchAnswer[]): Promise<FetchError> {
    const outcome = await fetched(recipe, known).catch((error: unknown) => error);
    if (!(outcome instanceof FetchError)) throw outcome;
    return outcome;
  }

  test("one byte changed in what was kept: it is named, and nothing built", async () => {
    const recipe = goRecipe(scratchEnd);
    const { answers } = await fetched(recipe);
    const zip = answers.find(({ url }) => url.endsWith("greeting/@v/v1.0.0.zip"));
    const path = join(cache.root, "sha256", zip?.sha256 ?? "");
    const bytes = await readFile(path);
    bytes[10] = (bytes[10] ?? 0) ^ 1;
    await chmod(path, 0o644);
    await writeFile(path, bytes);
    const { message } = await refusal(recipe, answers);
    expect(message).toContain(`${zip?.url}: the recorded answer, sha256 ${zip?.sha256}, is neither here nor`);
  });

  test("one request more than is recorded: it is named, and nothing built, though the step does not mind", async () => {
    const { answers } = await fetched(goRecipe(scratchEnd));
    const more = goRecipe(`RUN go get registry.test/other@v1.0.0 || true\n${scratchEnd}`);
    const { message } = await refusal(more, answers);
    expect(message).toMatch(/registry\.test\/other\/@v\/v1\.0\.0\.\w+: it is not in the fetch record/);
  });

  test("a client that ignores the proxy, and one that asks a private address: both are named", async () => {
    const ignoring = goRecipe(
      `RUN HTTPS_PROXY= https_proxy= go mod download registry.test/farewell@v1.0.1 || true\n${scratchEnd}`,
    );
    expect((await refusal(ignoring)).message).toContain("asks for the address of registry.test itself");
    const inside = goRecipe(
      `RUN GOPROXY=https://inside.test go get inside.test/x@v1.0.0 || true\n${scratchEnd}`,
    );
    expect((await refusal(inside)).message).toMatch(/inside\.test is no public address/);
  });

  test("on a builder that is reached over TLS alone: the session carries what is fetched", async () => {
    await using daemon = await TlsDaemon.start();
    const tls = await daemon.client();
    const remote = parseEndpoint({ address: daemon.address, buildctl: realTool("buildctl"), tls });
    const recipe = goRecipe(scratchEnd);
    const first = await fetched(recipe);
    expect((await replayed(recipe, first, remote)).index).toBe(first.image.index);
  });

  test("on a builder in a network without any route it is recorded, and replayed", async () => {
    await using daemon = await TlsDaemon.start({ isIsolated: true });
    const remote = parseEndpoint({ address: daemon.address, buildctl: realTool("buildctl") });
    const recipe = goRecipe(scratchEnd);
    const first = await fetched(recipe, undefined, remote);
    expect(first.answers.length).toBeGreaterThan(5);
    expect((await replayed(recipe, first)).index).toBe(first.image.index);
    expect((await replayed(recipe, first, remote)).index).toBe(first.image.index);
  });

  test("no other step finds the socket", async () => {
    const { image } = await fetched(
      goRecipe("RUN echo /* /.* /dev/* >/seen\nFROM scratch AS package\nCOPY --from=build /seen /\n"),
    );
    const folder = join(image.layout, "blobs/sha256");
    const read = (await readdir(folder)).map((name) =>
      run("tar", ["-xzOf", join(folder, name)]).catch(() => undefined),
    );
    const text = (await Promise.all(read)).map((output) => output?.stdout ?? "").join("");
    expect(text).toContain("/dev/null");
    expect(text).not.toContain("stagex");
  });
});
