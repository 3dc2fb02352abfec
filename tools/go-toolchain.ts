import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { z } from "zod";
import { diagnoseGoFailure } from "./go-diagnosis.ts";
import { pinnedGo } from "./pinned-tools.ts";
import { SetUpError } from "./set-up-error.ts";
import { compareVersions, parseVersion, type Version } from "./version.ts";

const execute = promisify(execFile);

/** Go switches to another toolchain by itself from this version on (https://go.dev/doc/toolchain). */
const oldestSwitching: Version = [1, 21, 0];

/** Where the user's Go gets and keeps modules: kept, for a company's own proxy to work. */
const whereabouts = z.object({
  GOVERSION: z.string(),
  GOPROXY: z.string(),
  GONOPROXY: z.string(),
  GOPRIVATE: z.string(),
  GOSUMDB: z.string(),
  GONOSUMDB: z.string(),
  GOAUTH: z.string(),
  GOMODCACHE: z.string(),
  GOCACHE: z.string(),
  GOPATH: z.string(),
  GOTMPDIR: z.string(),
});

/** The environment to run the pinned Go in, and how far it is from here. */
export type GoToolchain = {
  readonly environment: NodeJS.ProcessEnv;
  /** The Go on PATH, such as `go1.26.8`. */
  readonly installed: string;
  /** The Go on PATH is another, so the pinned one is downloaded as a Go module, checked by Go's checksum database. */
  readonly isElsewhere: boolean;
};

/**
 * An environment in which `go build` gives the same bytes for every user: the pinned Go, and none of the user's settings
 * but those that say where to get and keep modules.
 *
 * @param what the tool it is for, named in errors
 * @throws SetUpError when there is no Go, or one too old to fetch the pinned one
 */
export async function findGo(
  what: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<GoToolchain> {
  const found = await readWhereabouts(what, environment);
  const { GOVERSION: installed, ...kept } = found;
  const version = parseVersion(installed);
  if (version === null || compareVersions(version, oldestSwitching) < 0) {
    throw new SetUpError(
      what,
      "old-go",
      `it is built from source with ${pinnedGo}, and the Go on PATH is ${installed}: Go 1.21 or newer would fetch ${pinnedGo} by itself`,
      "install a newer Go from https://go.dev/dl/ (Debian 12: apt-get install -t bookworm-backports golang-go)",
    );
  }
  const clean = Object.fromEntries(Object.entries(environment).filter(([name]) => !isGoSetting(name)));
  const set = Object.fromEntries(
    Object.entries({ ...kept, ...checked(kept) }).filter(([, value]) => value !== ""),
  );
  return {
    environment: { ...clean, ...set, GOENV: "off", GOTOOLCHAIN: pinnedGo, GOWORK: "off" },
    installed,
    isElsewhere: installed !== pinnedGo,
  };
}

/** Go's checksum database, perhaps by way of a mirror: its key is in Go itself (go.dev/ref/mod, "Checksum database"). */
const ownDatabase = /^sum\.golang\.(?:org|google\.cn)(?: \S+)?$/;

/**
 * Settings with which Go checks the Go that it downloads. Modules are checked by our go.sum, wherever they come from; of Go itself
 * only the checksum database knows the hash. A user's `off` or other database would leave it unchecked, and so does Go where a
 * folder is the only proxy (cmd/go/internal/modfetch, useSumDB).
 */
function checked({ GOSUMDB, GOPROXY }: Pick<z.infer<typeof whereabouts>, "GOSUMDB" | "GOPROXY">) {
  return {
    GOSUMDB: ownDatabase.test(GOSUMDB) ? GOSUMDB : "sum.golang.org",
    GOPROXY: /^file:[^,|]*$/.test(GOPROXY) ? `${GOPROXY},off` : GOPROXY,
  };
}

/** Downloads the pinned Go where it is not the installed one. */
export async function fetchGo(what: string, go: GoToolchain): Promise<void> {
  try {
    await execute("go", ["version"], { env: go.environment, cwd: tmpdir() });
  } catch (error) {
    throw diagnoseGoFailure(what, String(error instanceof Error && "stderr" in error ? error.stderr : error));
  }
}

async function readWhereabouts(what: string, environment: NodeJS.ProcessEnv) {
  try {
    // Outside any module and with the installed Go: one that is too old must be able to answer too.
    const { stdout } = await execute("go", ["env", "-json", ...Object.keys(whereabouts.shape)], {
      env: { ...environment, GOTOOLCHAIN: "local", GOFLAGS: "", GOWORK: "off" },
      cwd: tmpdir(),
    });
    return whereabouts.parse(JSON.parse(stdout));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw new SetUpError(
        what,
        "no-go",
        "it is neither on PATH nor built yet, and there is no Go to build it with",
        "apt-get install golang-go (1.21 or newer; else https://go.dev/dl/)",
      );
    }
    throw new SetUpError(
      what,
      "build-failed",
      `\`go env\` does not work: ${error instanceof Error ? error.message : String(error)}`,
      "go env",
    );
  }
}

function isGoSetting(name: string): boolean {
  // By the last one Go takes itself for the module proxy, which checks nothing.
  return /^(GO[A-Z0-9]+|CGO_[A-Z_]+|CC|CXX|AR|FC|GIT_HTTP_USER_AGENT)$/.test(name);
}
