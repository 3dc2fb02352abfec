import { expect, test } from "vitest";
import { ProgressReader } from "../../../../buildkit/client/progress.ts";
import { SolveError } from "../../../../buildkit/client/solve-error.ts";
import { proxyCommand, proxyFlags, stripProxyCommand } from "../../../../buildkit/client/step-proxy.ts";
import { wrapFetchingRuns } from "../../../../distro/recipe/fetching-runs.ts";

const proxy = { id: "deps-1" };

/** Returns the RUN as BuildKit shows it. */
function wrapped(run: string): string {
  const wrapping = { flags: proxyFlags(proxy), command: proxyCommand };
  const text = wrapFetchingRuns(
    `FROM scratch\n${run}\n`,
    { bases: [null] },
    { shells: new Map(), wrapper: wrapping },
  );
  return text.split("\n")[1] ?? "";
}

test.each([
  ["RUN cargo fetch --locked"],
  ['RUN echo "a \\"b\\" \\\\ $HOME $X" ] && go get x', undefined],
  ['RUN ["/bin/go", "get", "a \\"]"]', 'RUN ["/bin/go","get","a \\"]"]'],
  ["RUN --mount=type=tmpfs,target=/t --network=default npm ci", "RUN --mount=type=tmpfs,target=/t npm ci"],
  ["RUN <<EOF\n  set -e\n\n  go get x\nEOF", "RUN set -e go get x"],
])("shows the recipe's own command: %j", (run, shown = run) => {
  expect(wrapped(run)).toContain("with-proxy");
  expect(stripProxyCommand(`[build 1/2] ${wrapped(run)}`, proxy)).toBe(`[build 1/2] ${shown}`);
});

test("contains no variable for BuildKit to expand", () => {
  expect(wrapped("RUN go get x@$VERSION")).not.toContain("$");
});

test("keeps the text of other steps, and text that is not the proxy's", () => {
  for (const text of [
    "RUN make",
    'RUN ["with-proxy","x"]',
    `RUN ${proxyFlags({ id: "deps-2" }).join(" ")} ["a"]`,
  ])
    expect(stripProxyCommand(text, proxy)).toBe(text);
  const cut = `RUN ${proxyFlags(proxy).join(" ")} `;
  expect(stripProxyCommand(`${cut}["/with`, proxy)).toBe('RUN ["/with');
  expect(stripProxyCommand(`${cut}["\\q"]`, proxy)).toBe('RUN ["\\q"]');
});

test("hides the proxy in events, log and error of a failed step", () => {
  const seen: string[] = [];
  const progress = new ProgressReader(
    ({ name }) => seen.push(name),
    (line) => seen.push(line),
    (text) => stripProxyCommand(text, proxy),
  );
  const run = wrapped("RUN go get x && false");
  const error = `process "${proxyCommand.join(" ")} /bin/sh -c go get x && false" did not complete successfully: exit code: 1`;
  const [started, completed] = [1, 2].map((second) => new Date(second * 1000).toISOString());
  const vertex = { digest: "sha256:1", name: `[build 1/1] ${run}`, started };
  progress.readLine(JSON.stringify({ vertexes: [vertex] }));
  progress.readLine(JSON.stringify({ vertexes: [{ ...vertex, completed, error }] }));
  progress.readLine(`   2 | >>> ${run}`);
  progress.readLine(`error: failed to solve: ${error}`);
  progress.end();
  const failed = progress.failedStep();
  const { message } = new SolveError("core-a", failed, progress.messages, "/log");
  expect([...seen, ...progress.messages, failed?.error, message].join("\n")).not.toMatch(
    /stagex-fetch|with-proxy|deps-1/,
  );
  expect(message).toContain("core-a can't be built: [build 1/1] RUN go get x && false: exit code 1\n");
  expect(seen).toContain("   2 | >>> RUN go get x && false");
  expect(failed?.error).toMatch(/^process "\/bin\/sh -c go get x && false" did not/);
});
