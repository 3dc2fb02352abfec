import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { VersionRange } from "./version.ts";

/** The tools of the set-up. */
export const toolNames = [
  "pulumi",
  "pulumi-language-nodejs",
  "buildkitd",
  "buildctl",
  "runc",
  "registry",
  "registry-client",
  "with-proxy",
] as const;
export type ToolName = (typeof toolNames)[number];

/**
 * The Go that builds the tools. BuildKit compresses layers with Go's own gzip, and Go 1.27 changed
 * it: with another Go every layer, and so every digest, differs from StageX's.
 */
export const pinnedGo = "go1.26.8";

/** One `go build`. */
export type GoBinary = {
  /** The file's name in the tool's folder. */
  readonly output: string;
  /** The folder below `tools/go/` whose go.mod and go.sum pin every module. */
  readonly module: string;
  /** The package to build: an import path, or `.` for the folder's own. */
  readonly package: string;
  readonly tags: readonly string[];
  /** Linker flags; `VERSION` stands for the tool's version. */
  readonly ldflags: string;
  /** Whether it needs a C compiler. */
  readonly cgo: boolean;
  /** Its platform in Go's terms, where that is not this machine's. */
  readonly platform?: { readonly os: string; readonly arch: string };
};

/** One way to build a tool. */
export type BuildMethod = {
  readonly binaries: readonly GoBinary[];
  /** Whether this machine has what the method needs beyond Go and gcc. */
  readonly isPossible: (environment: NodeJS.ProcessEnv) => Promise<boolean>;
  readonly shortcoming: Shortcoming | null;
};

/** A missing ability of a working tool, and the command that fixes it. */
export type Shortcoming = { readonly lack: string; readonly fix: string };

/** The recognition of a tool, and its build where there is none. */
export type PinnedTool = {
  readonly name: ToolName;
  /**
   * The go.mod below `tools/go/` that pins the tool's version, and the Go module of that version.
   */
  readonly pinnedBy: { readonly module: string; readonly path: string };
  /** Arguments with which it prints its version, or null where it can't. */
  readonly versionArguments: readonly string[] | null;
  /** The versions that are taken from PATH instead of a build; null where none is. */
  readonly accepted: VersionRange | null;
  /** The build methods, the best first. */
  readonly buildMethods: readonly [BuildMethod, ...BuildMethod[]];
  /** The systems that it runs on. */
  readonly systems: readonly NodeJS.Platform[];
};

const always = async () => true;
const everywhere = ["linux", "darwin"] as const;

function buildMethod(
  binary: Partial<GoBinary> & Pick<GoBinary, "output" | "module" | "package">,
): BuildMethod {
  return {
    binaries: [{ tags: [], ldflags: "", cgo: false, ...binary }],
    isPossible: always,
    shortcoming: null,
  };
}

const buildkit = {
  pinnedBy: { module: "buildkit", path: "github.com/moby/buildkit" },
  versionArguments: ["--version"],
  // 0.32 gives the digests of 0.34; later versions have not been compared.
  accepted: { from: [0, 32, 0], below: [0, 35, 0] },
} as const;

const buildkitBinary = {
  module: "buildkit",
  tags: ["osusergo", "netgo"],
  ldflags: "-X github.com/moby/buildkit/version.Version=VERSION",
};

/**
 * The runtime itself; the program `runc` edits a container's configuration first, and then executes
 * this one.
 */
const runcBinary: GoBinary = {
  output: "runc.real",
  module: "runc",
  package: "github.com/opencontainers/runc",
  tags: [],
  ldflags: "-X main.version=VERSION",
  cgo: true,
};

const hermeticRunc: GoBinary = {
  output: "runc",
  module: "runc-hermetic",
  package: ".",
  tags: [],
  ldflags: "",
  cgo: false,
};

async function hasLibseccomp(environment: NodeJS.ProcessEnv): Promise<boolean> {
  try {
    await promisify(execFile)("pkg-config", ["--exists", "libseccomp"], { env: environment });
    return true;
  } catch {
    return false;
  }
}

/** The tools by name. Only the go.mod files have versions. */
export const pinnedTools: Readonly<Record<ToolName, PinnedTool>> = {
  pulumi: {
    name: "pulumi",
    pinnedBy: { module: "pulumi", path: "github.com/pulumi/pulumi/pkg/v3" },
    versionArguments: ["version"],
    // From the version that the tests run with.
    accepted: { from: [3, 256, 0], below: [4, 0, 0] },
    buildMethods: [
      buildMethod({
        output: "pulumi",
        module: "pulumi",
        package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        ldflags: "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=VERSION",
      }),
    ],
    systems: everywhere,
  },
  "pulumi-language-nodejs": {
    name: "pulumi-language-nodejs",
    pinnedBy: { module: "pulumi-language-nodejs", path: "github.com/pulumi/pulumi/sdk/v3" },
    versionArguments: null,
    // It comes with its engine.
    accepted: { from: [3, 68, 0], below: [4, 0, 0] },
    buildMethods: [
      buildMethod({
        output: "pulumi-language-nodejs",
        module: "pulumi-language-nodejs",
        package: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
      }),
    ],
    systems: everywhere,
  },
  buildkitd: {
    ...buildkit,
    name: "buildkitd",
    buildMethods: [
      buildMethod({
        ...buildkitBinary,
        output: "buildkitd",
        package: "github.com/moby/buildkit/cmd/buildkitd",
      }),
    ],
    systems: ["linux"],
  },
  buildctl: {
    ...buildkit,
    name: "buildctl",
    buildMethods: [
      buildMethod({
        ...buildkitBinary,
        output: "buildctl",
        package: "github.com/moby/buildkit/cmd/buildctl",
      }),
    ],
    systems: everywhere,
  },
  runc: {
    name: "runc",
    pinnedBy: { module: "runc", path: "github.com/opencontainers/runc" },
    versionArguments: ["--version"],
    // Any other runc shows the host to builds.
    accepted: null,
    buildMethods: [
      {
        binaries: [{ ...runcBinary, tags: ["seccomp"] }, hermeticRunc],
        isPossible: hasLibseccomp,
        shortcoming: null,
      },
      {
        binaries: [runcBinary, { ...hermeticRunc, ldflags: "-X main.seccomp=dropped" }],
        isPossible: always,
        shortcoming: {
          lack: "does not filter the system calls of builds, which run as root",
          fix: "apt-get install libseccomp-dev pkg-config, then npm start builds one with a filter",
        },
      },
    ],
    systems: ["linux"],
  },
  registry: {
    name: "registry",
    pinnedBy: { module: "registry", path: "github.com/distribution/distribution/v3" },
    versionArguments: ["--version"],
    accepted: { from: [3, 0, 0], below: [4, 0, 0] },
    buildMethods: [
      buildMethod({
        output: "registry",
        module: "registry",
        package: "github.com/distribution/distribution/v3/cmd/registry",
        ldflags: "-X github.com/distribution/distribution/v3/version.version=VERSION",
      }),
    ],
    systems: everywhere,
  },
  // Our own, on go-containerregistry: none of that name is taken from PATH.
  "registry-client": {
    name: "registry-client",
    pinnedBy: { module: "registry-client", path: "github.com/google/go-containerregistry" },
    versionArguments: null,
    accepted: { from: [0, 22, 0], below: [1, 0, 0] },
    buildMethods: [
      buildMethod({
        output: "registry-client",
        module: "registry-client",
        package: ".",
        ldflags: "-X main.version=VERSION",
      }),
    ],
    systems: everywhere,
  },
  // Our own: it runs in the containers of builds, whose platform may differ from this machine's.
  // A linux/386 container runs the program for amd64, as the kernel does.
  "with-proxy": {
    name: "with-proxy",
    pinnedBy: { module: "with-proxy", path: "golang.org/x/net" },
    versionArguments: null,
    accepted: null,
    buildMethods: [
      {
        binaries: ["amd64", "arm64"].map((arch) => ({
          ...{ output: arch === "amd64" ? "with-proxy" : `with-proxy-${arch}`, module: "with-proxy" },
          ...{ package: ".", tags: [], ldflags: "-s -w", cgo: false, platform: { os: "linux", arch } },
        })),
        isPossible: always,
        shortcoming: null,
      },
    ],
    systems: everywhere,
  },
};
