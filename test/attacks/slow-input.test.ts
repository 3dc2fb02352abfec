// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Containerfiles

import { expect, test } from "vitest";
import { findCycles, sortTopologically } from "../../distro/graph.ts";
import { parseContainerfile } from "../../distro/recipe/containerfile-parser.ts";
import { checkContextReads, selectContextFiles } from "../../distro/recipe/context-files.ts";
import { parsePackageToml } from "../../distro/recipe/package-toml-parser.ts";
import { resolveVersions } from "../../distro/recipe/version-from.ts";
import { parseDigestsFile } from "../../distro/tree/digests-file.ts";
import { readTreeSource } from "../../distro/tree/tree.ts";
import { TreeError } from "../../distro/tree-error.ts";
import { compileGlob } from "../../lib/text/glob.ts";
import { MemoryTree } from "../support/builders/memory-tree.ts";
import { packageFiles, trackedTree } from "../support/builders/written-tree.ts";
import { stagex } from "../support/programs/stagex-command.ts";

/**
 * Inputs that are made to be slow, and their readers. The sizes are those that a tree's files can
 * have (256 KiB and 1 MiB), or numbers of packages far above any release's.
 */
type Slow = { readonly read: (size: number) => unknown; readonly largest: number };

const toml = (rest: string) => `[package]\nname = "x"\nversion = "1"\ndescription = "x"\n${rest}`;
const recipe = (text: string) => parseContainerfile("packages/core/x/Containerfile", text);
const files = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ path: `f${index}`, mode: "100644" }) as const);
const lines = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => line(index)).join("");

const inputs: Readonly<Record<string, Slow>> = {
  "stars in a pattern": { read: (n) => compileGlob(`${"*a".repeat(n / 2)}b`)("a".repeat(n)), largest: 4096 },
  "stars and marks in a pattern": {
    read: (n) => compileGlob(`*${"?".repeat(n / 2)}b*`)("a".repeat(n)),
    largest: 4096,
  },
  "a directive of blanks": {
    read: (n) => recipe(`# escape=\\${" ".repeat(n)}x\nFROM scratch\n`),
    largest: 60_000,
  },
  "variables without an end": {
    read: (n) => recipe(`ARG X=${"${a-".repeat(n / 4)}\nFROM scratch\n`),
    largest: 60_000,
  },
  "variables that double": {
    read: (n) => recipe(`ARG A0=xx\n${lines(n / 20, (i) => `ARG A${i + 1}=$A${i}$A${i}\n`)}FROM $A9\n`),
    largest: 1 << 20,
  },
  "continued lines of quotes": {
    read: (n) => recipe(`FROM scratch\n${'RUN " \\" \\\n'.repeat(n / 10)}\n`),
    largest: 1 << 20,
  },
  "words of quotes": {
    read: (n) => recipe(`FROM scratch\nRUN <<E ${`' " \\" `.repeat(n / 8)}\nE\n`),
    largest: 60_000,
  },
  "heredocs of blanks": {
    read: (n) => recipe(`FROM scratch\nRUN cat <<${" ".repeat(n)}< x\n`),
    largest: 60_000,
  },
  "flags of quotes": {
    read: (n) => recipe(`FROM scratch\nRUN ${'--a"\\" '.repeat(n / 8)}\n`),
    largest: 60_000,
  },
  "stages of unknown names": {
    read: (n) => recipe(`FROM scratch AS a\n${"FROM a$TARGETARCH\n".repeat(n / 18)}`),
    largest: 1 << 20,
  },
  "images of unknown names": {
    read: (n) =>
      recipe(`FROM scratch AS a\n${lines(n / 60, (i) => `COPY --from=${"x".repeat(40)}${i} . .\n`)}`),
    largest: 1 << 20,
  },
  "unknown instructions": {
    read: (n) => recipe(`FROM scratch\n${"RUM x\n".repeat(n / 6)}`),
    largest: 1 << 20,
  },
  "paths in a folder of many files": {
    read: (n) => {
      const containerfile = recipe(`FROM scratch\n${lines(Math.min(n, 9000), (i) => `COPY f${i} /\n`)}`);
      return [
        selectContextFiles(files(n), containerfile)(null),
        checkContextReads("a/b", files(n), containerfile),
      ];
    },
    largest: 20_000,
  },
  "wildcards in a folder of many files": {
    read: (n) =>
      selectContextFiles(files(n), recipe(`FROM scratch\n${lines(200, (i) => `COPY *${i}*x /\n`)}`))(null),
    largest: 8000,
  },
  "sources without a hash": {
    read: (n) => parsePackageToml("x", toml(lines(n / 30, (i) => `[sources.a${i}]\nhash = 1\n`))),
    largest: 1 << 18,
  },
  "fields that are nearly known": {
    read: (n) => parsePackageToml("x", toml(lines(n / 30, (i) => `[sources.a${i}]\nmirors = 1\n`))),
    largest: 1 << 18,
  },
  "keys as deep as the file": {
    read: (n) => parsePackageToml("x", toml(`hash${".a".repeat(n / 2)} = 1\n`)),
    largest: 1 << 18,
  },
  "a name as deep as the file": {
    read: (n) => parsePackageToml("x", `package.name${".a".repeat(n / 2)} = 1\n`),
    largest: 1 << 18,
  },
  "arrays as deep as the file": {
    read: (n) => parsePackageToml("x", toml(`x = ${"[".repeat(n)}`)),
    largest: 1 << 18,
  },
  "mirrors of placeholders": {
    read: (n) =>
      parsePackageToml(
        "x",
        toml(
          `[sources.a]\nhash = "${"0".repeat(64)}"\nversion = "${"1".repeat(200)}"\nmirrors = [${lines(n / 2000, () => `"${"{version}".repeat(200)}", `)}]\n`,
        ),
      ),
    largest: 1 << 18,
  },
  "digests that are none": {
    read: (n) => parseDigestsFile("digests/core.txt", "\n".repeat(n)),
    largest: 1 << 20,
  },
  "a chain of images": {
    read: (n) =>
      sortTopologically(
        new Map(names(n).map((name, i, all) => [name, { dependencies: all.slice(i + 1, i + 2) }])),
      ),
    largest: 50_000,
  },
  "a cycle of all images": {
    read: (n) =>
      findCycles(new Map(names(n).map((name, i, all) => [name, { dependencies: [all[i + 1] ?? "i0"] }]))),
    largest: 50_000,
  },
  "cycles of two, and a way through them all": {
    read: (n) =>
      findCycles(
        new Map(
          names(n).map((name, i, all) => [
            name,
            { dependencies: [all[i ^ 1] ?? "i0", all[i + 1] ?? "i0", all[i + 2] ?? "i0"] },
          ]),
        ),
      ),
    largest: 50_000,
  },
  "a chain of versions": { read: (n) => resolveVersions(chain(n, null), () => {}), largest: 50_000 },
  "a cycle of versions": { read: (n) => resolveVersions(chain(n, "i0"), () => {}), largest: 50_000 },
  "versions of nothing": {
    read: (n) =>
      resolveVersions(
        new Map(names(n).map((name) => [name, { version: null, versionFrom: `core-${name}` }])),
        () => {},
      ),
    largest: 50_000,
  },
  "a tree with a fault in each package": {
    read: (n) =>
      readTreeSource(
        new MemoryTree(
          names(n).flatMap((name) => [
            [
              `packages/core/${name}/package.toml`,
              { mode: "100644", content: toml("").replace('"x"', `"${name}"`) },
            ] as const,
            [
              `packages/core/${name}/Containerfile`,
              { mode: "100644", content: "FROM stagex/core-none\n" },
            ] as const,
          ]),
        ),
      ),
    largest: 4000,
  },
};

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `i${index}`);
}

function chain(count: number, last: string | null) {
  return new Map(
    names(count).map((name, i, all) => [name, { version: null, versionFrom: all[i + 1] ?? last }]),
  );
}

/** The least time of several, in milliseconds of this process's own work: others' on the machine does not count. */
async function timeOf(read: (size: number) => unknown, size: number, rounds: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    try {
      await read(size);
    } catch (error) {
      if (!(error instanceof TreeError)) throw error;
      expect(error.message.length).toBeLessThan(100_000);
    }
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

test.each(Object.entries(inputs))("%s is read in linear time", async (_, slow) => {
  const { read, largest } = slow;
  const once = await timeOf(read, largest, 1);
  expect(once).toBeLessThan(5000);
  // What takes half a second at its largest can't be made to hang; below that, times say little.
  if (once < 500) return;
  const whole = await timeOf(read, largest, 2);
  const part = await timeOf(read, largest / 8, 2);
  expect(whole / Math.max(part, 20)).toBeLessThan(24);
});

test("a chain of tens of thousands of images overflows no stack", async () => {
  const count = 5000;
  const tree = new MemoryTree(
    names(count).flatMap((name, i) => [
      [
        `packages/core/${name}/package.toml`,
        { mode: "100644", content: toml("").replace('"x"', `"${name}"`) },
      ] as const,
      [
        `packages/core/${name}/Containerfile`,
        { mode: "100644", content: i === 0 ? "FROM scratch\n" : `FROM stagex/core-i${i - 1}\n` },
      ] as const,
    ]),
  );
  expect([...(await readTreeSource(tree)).images.keys()].at(-1)).toBe(`core-i${count - 1}`);
});

test("the command answers in seconds", async () => {
  const slow = [
    { files: { [`${"a".repeat(200)}`]: "" }, containerfile: `FROM scratch\nCOPY ${"*a".repeat(25)}b /x/\n` },
    { containerfile: `# a=x${" ".repeat(300_000)}y\nFROM scratch\n` },
    { containerfile: `ARG X=${"${a-".repeat(100_000)}\nFROM scratch\n` },
    { toml: `version = "1"\n${lines(20_000, (i) => `[sources.a${i}]\nhash = 1\n`)}` },
  ];
  for (const { files: more = {}, ...texts } of slow) {
    const extra = Object.fromEntries(
      Object.entries(more).map(([path, text]) => [`packages/user/x/${path}`, text]),
    );
    const root = trackedTree({ ...packageFiles("user/x", texts), ...extra });
    const started = performance.now();
    const { stderr } = await stagex("show", "--all", "--tree", root);
    expect(performance.now() - started).toBeLessThan(20_000);
    expect(stderr.length).toBeLessThan(100_000);
    expect(stderr).not.toMatch(/\n {4}at /);
  }
});
