import { pinnedGo } from "./pinned-tools.ts";
import { SetUpError, type SetUpReason } from "./set-up-error.ts";

type Symptom = {
  readonly sign: RegExp;
  readonly reason: SetUpReason;
  readonly why: string;
  readonly mend: string;
};

/** What Go, the C compiler and the kernel say, from the most to the least telling. */
const symptoms: readonly Symptom[] = [
  {
    sign: /no space left on device|disk quota exceeded/i,
    reason: "disk-full",
    why: "the disk is full",
    mend: "free about 4 GB (`go clean -cache` empties Go's build cache), or put ours elsewhere: export STAGEX_CACHE=/path",
  },
  {
    sign: /SECURITY ERROR|checksum mismatch/,
    reason: "wrong-checksum",
    why: "a module that was downloaded is not the one whose checksum is pinned here",
    mend: "go clean -modcache, then again; if it stays so, the module proxy gives out something else: don't go round it",
  },
  {
    sign: /toolchain not available|GOTOOLCHAIN=local|checksum database disabled/,
    reason: "no-toolchain",
    why: `${pinnedGo} can't be downloaded, and only ${pinnedGo} gives the published digests`,
    mend: `install ${pinnedGo} from https://go.dev/dl/ and put it first on PATH`,
  },
  {
    sign: /executable file not found in \$PATH|C compiler .* not found|cgo: C compiler/,
    reason: "no-c-compiler",
    why: "there is no C compiler",
    mend: "apt-get install gcc libc6-dev",
  },
  {
    sign: /fatal error: [\w./]+\.h: No such file|cannot find (-lc|crt1\.o)/,
    reason: "no-c-compiler",
    why: "the C compiler has no headers or libraries to compile against",
    mend: "apt-get install gcc libc6-dev",
  },
  {
    sign: /signal: killed|cannot allocate memory/,
    reason: "out-of-memory",
    why: "a compiler was killed, most likely for want of memory (2 GB serve)",
    mend: "close other programs and run the same again: what is compiled is kept",
  },
  {
    sign: /dial tcp|dial udp|no such host|i\/o timeout|connection re(fused|set)|TLS handshake|proxyconnect|module lookup disabled|unexpected EOF/,
    reason: "no-network",
    why: "its source can't be downloaded",
    mend: "connect and run the same again (behind a proxy: export HTTPS_PROXY=…, or GOPROXY=… for a mirror of Go modules)",
  },
];

/** How much of Go's output an error quotes, in lines. */
const quotedLines = 15;

/** The error that says what Go's output means and what mends it; what is not known is quoted. */
export function diagnoseGoFailure(what: string, output: string): SetUpError {
  const tail = output
    .trimEnd()
    .split("\n")
    .slice(-quotedLines)
    .map((line) => `    ${line}`)
    .join("\n");
  const symptom = symptoms.find(({ sign }) => sign.test(output));
  if (symptom === undefined) {
    return new SetUpError(what, "build-failed", `Go says:\n${tail}`, "go clean -cache, then the same again");
  }
  return new SetUpError(what, symptom.reason, `${symptom.why}. Go says:\n${tail}`, symptom.mend);
}
