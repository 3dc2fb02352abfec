import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The rooms of the house, whose boundaries boundaries.test.ts holds. */
const rooms = [
  ...["lib", "distro", "sources", "oci", "trust", "buildkit", "tools", "config", "pipeline"],
  ...["providers", "pulumi-workarounds", "components", "stacks", "cli"],
];

const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\0")
  .filter((file) => file.endsWith(".ts") && rooms.includes(file.split("/")[0] ?? ""));

/** Lines of code, without comments that take a line of their own. */
const sourceLines = [...files, "index.ts"].flatMap((file) =>
  readFileSync(join(root, file), "utf8")
    .split("\n")
    .filter((line) => !/^\s*(?:\*|\/\*|\/\/)/.test(line))
    .map((line) => ({ file, line })),
);

test("the house has files to look at", () => {
  expect(files.length).toBeGreaterThan(200);
});

/** The ways out of the process, and the files that alone may use each. */
const waysOut: readonly { readonly what: string; readonly sign: RegExp; readonly only: readonly string[] }[] =
  [
    {
      what: "prints",
      sign: /\bconsole\b|\bprocess\s*\??\.?\s*\[?["'`]?(?:stdout|stderr)\b|\b(?:stdout|stderr)\b[^=;]*=\s*process\b|\b(?:stdout|stderr)\b.* from "(?:node:)?process"|from "(?:node:)?(?:console|tty)"|\/dev\/(?:stdout|stderr|tty)\b|\bwrite(?:File)?Sync\([012],/,
      only: ["lib/text/terminal.ts"],
    },
    {
      what: "takes a text for printable",
      sign: /\b(?:as|satisfies) Printable\b|<Printable>\w/,
      only: ["lib/text/printable.ts"],
    },
    {
      what: "prints byte for byte",
      sign: /\bprintRaw\b/,
      only: ["lib/text/terminal.ts", "cli/commands/env.ts"],
    },
    {
      what: "logs to the engine",
      sign: /@pulumi\/pulumi\/log\b|\bpulumi\.log\b|\blog\b[^;]*\} from "@pulumi\/pulumi"/,
      only: ["stacks/engine-log.ts"],
    },
  ];

test.each(waysOut)("only $only $what", ({ sign, only }) => {
  const found = sourceLines.filter(({ line }) => sign.test(line)).map(({ file }) => file);
  expect(new Set(found)).toEqual(new Set(only));
});

test("the pattern for printing matches every way to write to stdout or stderr", () => {
  const [prints] = waysOut;
  const written = [
    "process.stdout.write(text)",
    'process["stderr"].write(text)',
    "const { stdout } = process;",
    "console.log(text)",
    'import { stdout } from "node:process";',
    "writeSync(1, text)",
    'appendFile("/dev/stderr", text)',
  ];
  expect(written.filter((line) => !prints?.sign.test(line))).toEqual([]);
  expect("child.stdout.toArray()").not.toMatch(prints?.sign ?? /^/);
});

test("gRPC statuses are made in one file", () => {
  const makers = sourceLines.filter(({ line }) => /\bgrpc\.(?:status|StatusObject|Metadata)\b/.test(line));
  expect(new Set(makers.map(({ file }) => file))).toEqual(
    new Set(["providers/stagex/protocol/grpc-status.ts"]),
  );
});

test("git is started in one file alone, which bounds it and keeps settings of others from it", () => {
  const starts = /(?<!\bok)\(\s*["'`](?:\S*\/)?git["'`]|\bexec git\b|child_process[\s\S]*["'`]git["'`]/;
  const found = files.filter((file) => starts.test(readFileSync(join(root, file), "utf8")));
  expect(found).toEqual(["lib/git/git.ts"]);
});

test("no file is named utils, helpers, common, manager or misc", () => {
  expect(files.filter((file) => /(utils?|helpers?|common|manager|misc)\.ts$/.test(file))).toEqual([]);
});

/**
 * Files that read others without lib/fs/regular-file.ts, and why they may: only the user or the
 * kernel could put a link, a pipe or an endless file there. What a tree, a bundle, a kit, a layout,
 * a cache or a server brings is read through that module.
 */
const plainReaders: Readonly<Record<string, string>> = {
  "buildkit/client/builder-facts.ts": "/proc",
  "buildkit/client/client-environment.ts": "the user's own Docker configuration",
  "buildkit/client/connection-diagnosis.ts": "certificates that the user's configuration names",
  "buildkit/client/context-folder.ts": "copies a source of our cache, hashed right before",
  "buildkit/daemon/daemon-process.ts": "/proc, and the log of our own daemon",
  "buildkit/daemon/daemon.ts": "the record of our own daemon",
  "buildkit/client/tls-alert.ts": "certificates that the user's configuration names",
  "cli/doctor/machine.ts": "/proc",
  "pulumi-workarounds/orphan-processes.ts": "/proc",
  "pulumi-workarounds/stale-locks.ts": "the engine's locks, and /proc",
  "cli/rehearsal/registry-server.ts": "the record of our own server",
  "cli/rehearsal/rehearsal.ts": "/proc",
  "cli/engine/stack.ts": "the log of the engine",
  "cli/commands/start.ts": "the journal of our own provider",
  "pulumi-workarounds/state-backup.ts": "the engine's state",
  "components/builder-fleet/aws-programs.ts": "programs that the set-up has built",
  "components/builder-fleet/aws-user-data.ts": "a file beside the module",
  "components/builder-fleet/static.ts": "certificates that the user's configuration names",
  "oci/blob.ts": "opens without following links, and looks at kind and size itself",
  "sources/download/partial-file.ts": "a handle that lib/fs/regular-file.ts has opened",
  "sources/download/archived-file.ts": "a handle that lib/fs/regular-file.ts has opened",
  "sources/recording/recording-proxy.ts": "a handle that lib/fs/regular-file.ts has opened",
  "sources/tree/tree-checkout.ts": "the note of our own checkout",
  "stacks/passphrase.ts": "the stack's settings and the user's passphrase file",
  "tools/engine-folder.ts": "programs that the set-up has built",
  "tools/kernel-features.ts": "/proc and /sys",
  "tools/platforms.ts": "/proc",
  "tools/tool-folder.ts": "the locked modules beside it, and what the set-up has built",
  "trust/signatures/signing-kit.ts": "the script beside the module",
  "trust/signatures/lookaside-folder.ts": "a handle that it has opened without following links",
  "trust/openpgp/signing-key.ts": "the signer's own key",
};

test("files of others are read through lib/fs/regular-file.ts alone", () => {
  const plain = files.filter((file) => {
    const text = readFileSync(join(root, file), "utf8").replace(/^\s*(?:\/\/|\/?\*).*$/gm, "");
    return /\b(?:readFile|readFileSync|createReadStream|copyFile|cp|cpSync|copyFileSync)\(/.test(text);
  });
  expect(new Set(plain.filter((file) => !file.startsWith("lib/")))).toEqual(
    new Set(Object.keys(plainReaders)),
  );
});

test("no source file is over 350 lines, and no room over 14 % of the source", () => {
  const linesOf = (file: string) => readFileSync(join(root, file), "utf8").trimEnd().split("\n").length;
  const lengths = new Map(files.map((file) => [file, linesOf(file)]));
  expect([...lengths].filter(([, lines]) => lines > 350)).toEqual([]);
  const all = [...lengths.values()].reduce((sum, lines) => sum + lines, 0);
  const shares = Object.entries(Object.groupBy(lengths, ([file]) => file.split("/")[0] ?? "")).map(
    ([room, inside = []]) => [room, inside.reduce((sum, [, lines]) => sum + lines, 0) / all] as const,
  );
  expect(shares.filter(([, share]) => share > 0.14)).toEqual([]);
});
