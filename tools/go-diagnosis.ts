import { pinnedGo } from "./pinned-tools.ts";
import { SetUpError, type SetUpReason } from "./set-up-error.ts";

type Symptom = {
  readonly sign: RegExp;
  readonly reason: SetUpReason;
  readonly why: string;
  readonly fix: string;
};

/** Messages of Go, the C compiler and the kernel, the most specific first. */
const symptoms: readonly Symptom[] = [
  {
    sign: /no space left on device|disk quota exceeded/i,
    reason: "disk-full",
    why: "the disk is full",
    fix: "free about 4 GB (`go clean -cache` empties Go's build cache), or put ours elsewhere: export STAGEX_CACHE=/path",
  },
  {
    sign: /SECURITY ERROR|checksum mismatch/,
    reason: "wrong-checksum",
    why: "a module that was downloaded is not the one whose checksum is pinned here",
    fix: "go clean -modcache, then run the same command again; if it fails again, the module proxy serves other bytes: do not bypass the check",
  },
  {
    sign: /toolchain not available|GOTOOLCHAIN=local|checksum database disabled/,
    reason: "no-toolchain",
    why: `${pinnedGo} can't be downloaded, and only ${pinnedGo} gives the published digests`,
    fix: `install ${pinnedGo} from https://go.dev/dl/ and put it first on PATH`,
  },
  {
    sign: /executable file not found in \$PATH|C compiler .* not found|cgo: C compiler/,
    reason: "no-c-compiler",
    why: "there is no C compiler",
    fix: "apt-get install gcc libc6-dev",
  },
  {
    sign: /fatal error: [\w./]+\.h: No such file|cannot find (-lc|crt1\.o)/,
    reason: "no-c-compiler",
    why: "the C compiler has no headers or libraries to compile against",
    fix: "apt-get install gcc libc6-dev",
  },
  {
    sign: /signal: killed|cannot allocate memory/,
    reason: "out-of-memory",
    why: "a compiler was killed, probably for lack of memory (2 GB are enough)",
    fix: "close other programs and run the same command again: compiled packages are kept",
  },
  {
    sign: /dial tcp|dial udp|no such host|i\/o timeout|connection re(fused|set)|TLS handshake|proxyconnect|module lookup disabled|unexpected EOF/,
    reason: "no-network",
    why: "its source can't be downloaded",
    fix: "connect and run the same command again (behind a proxy: export HTTPS_PROXY=…, or GOPROXY=… for a mirror of Go modules)",
  },
];

/** The lines of Go's output that an error quotes. */
const quotedLines = 15;

/** Returns an error with the meaning of Go's output and the fix; quotes unknown output. */
export function diagnoseGoFailure(what: string, output: string): SetUpError {
  const tail = output
    .trimEnd()
    .split("\n")
    .slice(-quotedLines)
    .map((line) => `    ${line}`)
    .join("\n");
  const symptom = symptoms.find(({ sign }) => sign.test(output));
  if (symptom === undefined) {
    return new SetUpError(
      what,
      "build-failed",
      `output of go:\n${tail}`,
      "go clean -cache, then run the same command again",
    );
  }
  return new SetUpError(what, symptom.reason, `${symptom.why}; output of go:\n${tail}`, symptom.fix);
}
