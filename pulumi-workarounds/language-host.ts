import { quoteShellWord } from "../lib/text/shell-word.ts";

/**
 * Returns a script that starts the Node.js language host which the set-up builds, and tells it to
 * load no TypeScript compiler.
 *
 * That host is of version 3.68, the newest with a module path that Go can fetch. It does not read
 * `typescript: false` in Pulumi.yaml: its engine passed the option on as a flag (the host's
 * `main.go`: `flag.BoolVar(&typescript, …, true, …)`). Without the flag each run loads ts-node and
 * the compiler, a third of a second; and after `npm ci --omit=dev` no program runs.
 *
 * Upstream: https://github.com/pulumi/templates/pull/312 has the cost of the compiler; for the
 * missing module no issue is filed. Newer hosts read Pulumi.yaml, and refuse the flag.
 *
 * Remove when a newer host can be had as a Go module, together with `isBuilt` in
 * tools/engine-folder.ts.
 *
 * @param host the path of the host
 */
export function languageHostScript(host: string): string {
  return `#!/bin/sh\nexec ${quoteShellWord(host)} -typescript=false "$@"\n`;
}
