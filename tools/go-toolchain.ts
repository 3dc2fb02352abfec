import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { z } from "zod";
import { diagnoseGoFailure } from "./go-diagnosis.ts";
import { pinnedGo } from "./pinned-tools.ts";
import { SetUpError } from "./set-up-error.ts";
import { compareVersions, parseVersion, type Version } from "./version.ts";

const execute = promisify(execFile);

/** The first Go that fetches another toolchain by itself (https://go.dev/doc/toolchain). */
const oldestSwitching: Version = [1, 21, 0];

/** The user's settings of where Go gets and keeps modules: kept, for a company's own proxy. */
const moduleSettings = z.object({
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

/** The environment of the pinned Go. */
export type GoToolchain = {
  readonly environment: NodeJS.ProcessEnv;
  /** The Go on PATH, such as `go1.26.8`. */
  readonly installed: string;
  /**
   * Whether the Go on PATH is another: then Go downloads the pinned one as a module, checked by its
   * checksum database.
   */
  readonly isElsewhere: boolean;
};

/**
 * Returns an environment in which `go build` gives the same bytes for every user: the pinned Go,
 * and of the user's settings only those of where to get and keep modules.
 *
 * @param what the tool to build, for errors
 * @throws SetUpError where there is no Go, or one too old to fetch the pinned one
 */
export async function findGo(
  what: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<GoToolchain> {
  const found = await readModuleSettings(what, environment);
  const { GOVERSION: installed, ...kept } = found;
  const version = parseVersion(installed);
  if (version === null || compareVersions(version, oldestSwitching) < 0) {
    throw new SetUpError(
      what,
      "old-go",
      `${pinnedGo} builds it from source, and the Go on PATH is ${installed}: Go 1.21 or newer fetches ${pinnedGo} by itself`,
      "install a newer Go from https://go.dev/dl/ (Debian 12: apt-get install -t bookworm-backports golang-go)",
    );
  }
  const clean = Object.fromEntries(Object.entries(environment).filter(([name]) => !isGoSetting(name)));
  const set = Object.fromEntries(
    Object.entries({ ...kept, ...checkedSettings(kept) }).filter(([, value]) => value !== ""),
  );
  return {
    environment: { ...clean, ...set, GOENV: "off", GOTOOLCHAIN: pinnedGo, GOWORK: "off" },
    installed,
    isElsewhere: installed !== pinnedGo,
  };
}

/**
 * Go's checksum database, or a mirror of it: its key is in Go itself (go.dev/ref/mod, "Checksum
 * database").
 */
const ownDatabase = /^sum\.golang\.(?:org|google\.cn)(?: \S+)?$/;

/**
 * Returns settings with which Go checks the Go that it downloads. Our go.sum checks all modules;
 * only the checksum database has the hash of Go itself. A user's `off` or other database would
 * leave it unchecked, as would a folder as the only proxy (cmd/go/internal/modfetch, useSumDB).
 */
function checkedSettings({ GOSUMDB, GOPROXY }: Pick<z.infer<typeof moduleSettings>, "GOSUMDB" | "GOPROXY">) {
  return {
    GOSUMDB: ownDatabase.test(GOSUMDB) ? GOSUMDB : "sum.golang.org",
    GOPROXY: /^file:[^,|]*$/.test(GOPROXY) ? `${GOPROXY},off` : GOPROXY,
  };
}

/** Downloads the pinned Go. */
export async function fetchGo(what: string, go: GoToolchain): Promise<void> {
  try {
    await execute("go", ["version"], { env: go.environment, cwd: tmpdir() });
  } catch (error) {
    throw diagnoseGoFailure(what, String(error instanceof Error && "stderr" in error ? error.stderr : error));
  }
}

async function readModuleSettings(what: string, environment: NodeJS.ProcessEnv) {
  try {
    // Outside of any module and with the installed Go: one that is too old must answer too.
    const { stdout } = await execute("go", ["env", "-json", ...Object.keys(moduleSettings.shape)], {
      env: { ...environment, GOTOOLCHAIN: "local", GOFLAGS: "", GOWORK: "off" },
      cwd: tmpdir(),
    });
    return moduleSettings.parse(JSON.parse(stdout));
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
      `\`go env\` fails: ${error instanceof Error ? error.message : String(error)}`,
      "go env",
    );
  }
}

function isGoSetting(name: string): boolean {
  // The last one makes Go behave as the module proxy, which checks nothing.
  return /^(GO[A-Z0-9]+|CGO_[A-Z_]+|CC|CXX|AR|FC|GIT_HTTP_USER_AGENT)$/.test(name);
}
