import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What each room may import from; itself and `lib` always. `oci/digest.ts`, `distro/build-plan.ts` and `sources/recording/fetch-record.ts` are words that all share. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  distro: [],
  sources: [],
  oci: [],
  trust: [],
  buildkit: [],
  tools: [],
  config: ["distro", "oci", "trust"],
  pipeline: ["distro", "sources", "oci", "trust", "buildkit", "tools", "config"],
  providers: [
    "distro",
    "sources",
    "oci",
    "trust",
    "buildkit",
    "tools",
    "config",
    "pipeline",
    "pulumi-workarounds",
  ],
  "pulumi-workarounds": ["config"],
  components: ["distro", "oci", "trust", "buildkit", "config", "pipeline", "providers", "pulumi-workarounds"],
  stacks: [
    "components",
    "distro",
    "sources",
    "oci",
    "trust",
    "config",
    "pipeline",
    "providers",
    "tools",
    "pulumi-workarounds",
  ],
  cli: ["distro", "sources", "oci", "trust", "buildkit", "tools", "config", "pipeline", "pulumi-workarounds"],
};
const shared = [
  "oci/digest.ts",
  "distro/build-plan.ts",
  "distro/input-key.ts",
  "sources/recording/fetch-record.ts",
  "package.json",
];
const pulumiFree = [
  "lib",
  "distro",
  "sources",
  "oci",
  "trust",
  "buildkit",
  "tools",
  "config",
  "pipeline",
  "cli",
];

type Import = { readonly file: string; readonly room: string; readonly from: string };

const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\0")
  .filter((file) => file.endsWith(".ts") && (file.split("/")[0] ?? "") in rooms);

const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(root, file), "utf8");
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g);
  return [...found].map(([, from = ""]) => ({ file, room: file.split("/")[0] ?? "", from }));
});

/** Lines of code, without comments that take a line of their own. */
const sourceLines = [...files, "index.ts"].flatMap((file) =>
  readFileSync(join(root, file), "utf8")
    .split("\n")
    .filter((line) => !/^\s*(?:\*|\/\*|\/\/)/.test(line))
    .map((line) => ({ file, line })),
);

test("the house is there to be looked at", () => {
  expect(files.length).toBeGreaterThan(20);
  expect(imports.length).toBeGreaterThan(50);
});

test("imports go one way", () => {
  const wrong = imports
    .filter(({ from }) => from.startsWith("."))
    .map(({ file, room, from }) => ({ file, room, target: normalize(join(dirname(file), from)) }))
    .filter(({ room, target }) => {
      const into = target.split("/")[0] ?? "";
      return into !== room && into !== "lib" && !shared.includes(target) && !rooms[room]?.includes(into);
    })
    .map(({ file, target }) => `${file} imports ${target}`);
  expect(wrong).toEqual([]);
});

test("of the provider others know the resources' classes alone", () => {
  const wrong = imports
    .map(({ file, from }) => ({ file, target: normalize(join(dirname(file), from)) }))
    .filter(({ file, target }) => target.startsWith("providers/") && !file.startsWith("providers/"))
    .filter(({ target }) => !target.endsWith("/resource.ts"));
  expect(wrong).toEqual([]);
});

test("no file outside bench/ imports it, tests included", () => {
  const tracked = execFileSync("git", ["ls-files", "-z", "*.ts"], { cwd: root, encoding: "utf8" }).split(
    "\0",
  );
  const wrong = tracked
    .filter((file) => file !== "" && !file.startsWith("bench/") && existsSync(join(root, file)))
    .filter((file) => /(?:from|import)\s*\(?\s*"[./]+\/bench\//.test(readFileSync(join(root, file), "utf8")));
  expect(wrong).toEqual([]);
});

test("folders of a room import one way, types included", () => {
  const folders = new Map<string, Set<string>>();
  for (const { file, room, from } of imports) {
    const into = dirname(normalize(join(dirname(file), from)));
    if (!from.startsWith(".") || into === dirname(file) || into.split("/")[0] !== room) continue;
    folders.set(dirname(file), (folders.get(dirname(file)) ?? new Set()).add(into));
  }
  const circles = [...folders].flatMap(([folder, others]) =>
    [...others]
      .filter((other) => reachable(other, folders).has(folder))
      .map((other) => `${folder} <-> ${other}`),
  );
  expect(folders.size).toBeGreaterThan(10);
  expect(circles).toEqual([]);
});

/** All folders that a folder imports, itself or by way of others. */
function reachable(from: string, folders: ReadonlyMap<string, ReadonlySet<string>>): Set<string> {
  const found = new Set<string>();
  const visit = (folder: string): void => {
    for (const next of folders.get(folder) ?? []) {
      if (found.has(next)) continue;
      found.add(next);
      visit(next);
    }
  };
  visit(from);
  return found;
}

test("only the provider, the components and the stacks know Pulumi", () => {
  const wrong = imports.filter(({ room, from }) => from.startsWith("@pulumi/") && pulumiFree.includes(room));
  expect(wrong).toEqual([]);
});

/** Where each way out of the process may stand in the code; all else goes through it. */
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

test("ways out of the process are seen however they are written", () => {
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

test("what is for development alone is not asked for at run time", () => {
  const dependencies = Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies);
  const packages = imports.filter(({ from }) => /^(?!node:)[@\w][\w./@-]*$/.test(from));
  const wrong = packages.filter(
    ({ from }) => !dependencies.some((name) => `${from}/`.startsWith(`${name}/`)),
  );
  expect(packages.length).toBeGreaterThan(50);
  expect(wrong).toEqual([]);
});

test("gRPC statuses are made in one file", () => {
  const users = imports.filter(({ from }) => from === "@grpc/grpc-js").map(({ file }) => file);
  const protocol = "providers/stagex/protocol";
  expect(new Set(users)).toEqual(
    new Set([`${protocol}/engine-log.ts`, `${protocol}/grpc-server.ts`, `${protocol}/grpc-status.ts`]),
  );
  const makers = sourceLines.filter(({ line }) => /\bgrpc\.(?:status|StatusObject|Metadata)\b/.test(line));
  expect(new Set(makers.map(({ file }) => file))).toEqual(new Set([`${protocol}/grpc-status.ts`]));
});

test("git is started in one file, which bounds it and keeps everyone's settings from it", () => {
  const starts = /(?<!\bok)\(\s*["'`](?:\S*\/)?git["'`]|\bexec git\b|child_process[\s\S]*["'`]git["'`]/;
  const found = files.filter((file) => starts.test(readFileSync(join(root, file), "utf8")));
  expect(found).toEqual(["lib/git/git.ts"]);
});

test("a file is one noun: no drawers for what has no name", () => {
  expect(files.filter((file) => /(utils?|helpers?|common|manager|misc)\.ts$/.test(file))).toEqual([]);
});

/**
 * Files that read others without lib/fs/regular-file.ts, and why they may: who could put a link, a pipe or an endless file there is who runs
 * us, or the kernel. Whatever a tree, a bundle, a kit, a layout, a cache or a server brings is read through that module.
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
  "cli/rehearsal/registry-server.ts": "the record of our own server",
  "cli/rehearsal/rehearsal.ts": "/proc",
  "cli/engine/stack.ts": "the engine's log and locks, and /proc",
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

test("what others bring is read as regular files only, up to a bound", () => {
  const plain = files.filter((file) => {
    const text = readFileSync(join(root, file), "utf8").replace(/^\s*(?:\/\/|\/?\*).*$/gm, "");
    return /\b(?:readFile|readFileSync|createReadStream|copyFile|cp|cpSync|copyFileSync)\(/.test(text);
  });
  expect(new Set(plain.filter((file) => !file.startsWith("lib/")))).toEqual(
    new Set(Object.keys(plainReaders)),
  );
});
