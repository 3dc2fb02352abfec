import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { findGo } from "../../tools/go-toolchain.ts";
import { git } from "../support/builders/written-tree.ts";

const scratch = mkdtempSync(join(tmpdir(), "forged-go-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A version that is on no machine and not in the checksum database. */
const version = "go1.26.99";
const platform = `linux-${{ x64: "amd64", arm64: "arm64" }[process.arch as string]}`;

/** A module proxy that is a folder, with the forged Go. */
function forgedProxy(): string {
  const [module, repository] = [`golang.org/toolchain@v0.0.1-${version}.${platform}`, join(scratch, "go")];
  mkdirSync(join(repository, "bin"), { recursive: true });
  for (const program of ["go", "gofmt"])
    writeFileSync(join(repository, "bin", program), "#!/bin/sh\necho FORGED\n", { mode: 0o755 });
  for (const folder of ["pkg/tool", "lib"]) {
    mkdirSync(join(repository, folder), { recursive: true });
    writeFileSync(join(repository, folder, "none"), "");
  }
  git(repository, "init", "--quiet");
  git(repository, "add", "--all");
  const author = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
  git(repository, ...author, "commit", "--quiet", "--message=x");
  const folder = join(scratch, "proxy/golang.org/toolchain/@v");
  mkdirSync(folder, { recursive: true });
  const zip = join(folder, `v0.0.1-${version}.${platform}.zip`);
  git(repository, "archive", "--format=zip", `--prefix=${module}/`, `--output=${zip}`, "HEAD");
  return pathToFileURL(join(scratch, "proxy")).href;
}

/** What `go version` prints where it first has to get that Go. Every way to the network ends on the loopback interface. */
function goVersion(environment: NodeJS.ProcessEnv): string {
  const caches = { GOMODCACHE: mkdtempSync(join(scratch, "modules-")), GOFLAGS: "-modcacherw" };
  const nowhere = { HTTPS_PROXY: "http://127.0.0.1:9", HTTP_PROXY: "http://127.0.0.1:9", NO_PROXY: "" };
  try {
    return execFileSync("go", ["version"], {
      env: { ...environment, ...caches, ...nowhere, GOTOOLCHAIN: version },
      cwd: scratch,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    return String((error as { stderr?: unknown }).stderr);
  }
}

describe.runIf(process.platform === "linux")("a Go without a verified checksum is not run", () => {
  const proxy = forgedProxy();
  const asProxy = { GOPROXY: `${proxy},off`, GIT_HTTP_USER_AGENT: "proxy.golang.org" };

  test.each([
    ["a folder is the only proxy, and the database is off", { GOSUMDB: "off", GONOSUMCHECK: "1" }],
    ["a folder is the only proxy, and no module is to be checked", { GONOSUMDB: "*", GOINSECURE: "*" }],
    ["Go takes itself for the proxy", { ...asProxy, GOSUMDB: "off" }],
    ["Go takes itself for the proxy, and no module is to be checked", { ...asProxy, GONOSUMDB: "*" }],
  ])("where %s", async (_, settings: NodeJS.ProcessEnv) => {
    const user = { ...process.env, GOPROXY: proxy, ...settings };
    // As it is without us: the attack works.
    expect(goVersion(user)).toBe("FORGED\n");
    const { environment } = await findGo("a tool", user);
    const ended = goVersion(environment);
    expect(ended).not.toContain("FORGED");
    expect(ended).toMatch(/sum\.golang\.org/);
  });

  test.each([
    ["off", "sum.golang.org"],
    ["sum.example.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", "sum.golang.org"],
    ["sum.golang.google.cn", "sum.golang.google.cn"],
    ["sum.golang.org https://mirror.example.org/sumdb", "sum.golang.org https://mirror.example.org/sumdb"],
  ])("with the user's database %s, %s is asked", async (own, asked) => {
    const { environment } = await findGo("a tool", { ...process.env, GOSUMDB: own });
    expect(environment.GOSUMDB).toBe(asked);
    expect(environment.GOFLAGS).toBeUndefined();
  });

  test("keeps the user's own module proxy", async () => {
    const GOPROXY = "https://proxy.example.org|direct";
    expect((await findGo("a tool", { ...process.env, GOPROXY })).environment.GOPROXY).toBe(GOPROXY);
  });
});
