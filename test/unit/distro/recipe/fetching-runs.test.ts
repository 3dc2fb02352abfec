import { expect, test } from "vitest";
import { fetchingRunsOf } from "../../../../distro/recipe/containerfile.ts";
import { parseContainerfile } from "../../../../distro/recipe/containerfile-parser.ts";
import { wrapFetchingRuns } from "../../../../distro/recipe/fetching-runs.ts";

const wrapping = { flags: ["--network=none", "--mount=x"], command: ["/with"] };

function wrapped(text: string, shells: Record<string, string[]> = {}): string[] {
  const containerfile = parseContainerfile("Containerfile", text);
  const rewritten = wrapFetchingRuns(text, containerfile, {
    shells: new Map(Object.entries(shells)),
    wrapper: wrapping,
  });
  expect(rewritten.split("\n")).toHaveLength(text.split("\n").length);
  return rewritten.split("\n").filter((line) => line.startsWith("RUN"));
}

const run = (...command: string[]) => `RUN --network=none --mount=x ${JSON.stringify(["/with", ...command])}`;
const sh = ["/bin/sh", "-c"];

test("gives a RUN that fetches its shell's words, and leaves the others as they are", () => {
  const others = ["RUN --network=none cargo fetch", "RUN make"];
  expect(wrapped(`FROM scratch\nRUN cargo fetch\n${others.join("\n")}\n`)).toEqual([
    run(...sh, "cargo fetch"),
    ...others,
  ]);
});

test("joins lines as BuildKit does, and keeps quotes", () => {
  expect(wrapped(`FROM scratch\nRUN go get \\\n  # no line\n  "a b" \\\\ && \\\n\n  true\n`)).toEqual([
    run(...sh, 'go get   "a b" \\\\ &&   true'),
  ]);
});

test("takes a single heredoc for the script, and keeps others with the command", () => {
  const script = "\tset -e\n\t\tgo mod tidy\n";
  expect(wrapped(`FROM scratch\nRUN <<-EOF\n${script}EOF\nRUN <<'E F'\n${script}E F\n`)).toEqual([
    run(...sh, "set -e\ngo mod tidy\n"),
    run(...sh, script),
  ]);
  expect(wrapped(`FROM scratch\nRUN cat <<A >x && go get <<B\n1\nA\n2\nB\n`)).toEqual([
    run(...sh, "cat <<A >x && go get <<B\n1\nA\n2\nB"),
  ]);
});

test("keeps the words of the JSON form, and the flags but the network's", () => {
  expect(
    wrapped('FROM scratch\nRUN --network=default --mount=type=tmpfs,target=/t ["go", "get", "x"]\n'),
  ).toEqual(['RUN --mount=type=tmpfs,target=/t --network=none --mount=x ["/with","go","get","x"]']);
});

test("uses the shell that the stage has, from SHELL, the stage or the image that it starts from", () => {
  const login = ["/bin/sh", "-l", "-c"];
  const text = `FROM stagex/core-profile AS base
RUN go get a
SHELL ["/bin/bash", "-c"]
RUN go get b
FROM base
RUN go get c
FROM stagex/core-other
RUN go get d
`;
  expect(wrapped(text, { "core-profile": login })).toEqual([
    run(...login, "go get a"),
    run("/bin/bash", "-c", "go get b"),
    run("/bin/bash", "-c", "go get c"),
    run(...sh, "go get d"),
  ]);
});

test.each([
  ['RUN <<EOF\n#!/usr/bin/env python\n"go get"\nx; go get y\nEOF', /script with "#!"/],
  ['RUN --mount=type=bind,source="a b",target=/x go get y', /no blanks or quotes/],
  ["RUN --mo\\\\unt=type=cache,target=/c go get y", /BuildKit knows none/],
  [`RUN <<EOF\ngo get y\n${"#0123456789\n".repeat(6_000)}EOF`, /more than 60000 bytes/],
])("refuses %.30j", (instruction, reason) => {
  expect(() => wrapped(`FROM scratch\n${instruction}\n`)).toThrow(reason);
});

test("finds the fetching RUNs of a target's stages only", () => {
  const text =
    "FROM scratch AS a\nRUN go get x\nFROM scratch AS b\nRUN make\nFROM scratch AS c\nCOPY --from=a / /\n";
  const containerfile = parseContainerfile("Containerfile", text);
  const commands = (target: string) =>
    fetchingRunsOf(containerfile, target).flatMap((fetch) => fetch.commands);
  expect([commands("a"), commands("b"), commands("c")]).toEqual([["go get"], [], ["go get"]]);
});
