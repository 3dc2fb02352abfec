import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ShownPlan } from "../../cli/commands/plan.ts";
import { projectRoot } from "../../lib/paths.ts";
import { Project } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

/**
 * Each takes one `up` with real builds. STAGEX_EDITS=1000 gives the whole proof, which takes hours.
 */
const rounds = Number(process.env.STAGEX_EDITS ?? 8);

/** Edits a package's folder in a way that still builds; the word is another each time, so no result is known yet. */
type Edit = (folder: string, word: string) => Promise<void>;

const edits: Readonly<Record<string, Edit>> = {
  "a comment in the Containerfile, which changes no byte of the image": (folder, word) =>
    change(`${folder}/Containerfile`, (text) => `${text}# ${word}\n`),
  "a label, which changes the image's configuration": (folder, word) =>
    change(`${folder}/Containerfile`, (text) => `${text}LABEL ${word}=1\n`),
  "a comment in every file of the context, which the assembler passes over": async (folder, word) => {
    const files = (await readdir(folder)).filter((file) => /\.hex[01]$/.test(file));
    for (const file of files) await change(`${folder}/${file}`, (text) => `${text}# ${word}\n`);
  },
  "another version, where no source is named by it": async (folder, word) => {
    const text = await readFile(`${folder}/package.toml`, "utf8");
    if (text.includes("[sources.")) return;
    await change(`${folder}/package.toml`, () => text.replace(/^version = ".*"$/m, `version = "1.${word}"`));
  },
  "another dependency": async (folder) => {
    if (/bootstrap|core\/(filesystem|libstem)/.test(folder)) return;
    await change(
      `${folder}/Containerfile`,
      (text) => `${text}COPY --from=stagex/core-filesystem /etc /etc\n`,
    );
  },
  "another description": (folder, word) =>
    change(`${folder}/package.toml`, (text) =>
      text.replace(/^description = .*$/m, `description = "${word}"`),
    ),
  "another mirror": (folder, word) =>
    change(`${folder}/package.toml`, (text) =>
      text.replace(/(?<=^mirrors = \["https:\/\/)[^/]+/m, `${word}.example`),
    ),
  "a package more": async (folder, word) => {
    const fresh = join(dirname(folder), word);
    await mkdir(fresh);
    await writeFile(`${fresh}/package.toml`, `[package]\nname = "${word}"\ndescription = "x"\n`);
    await writeFile(`${fresh}/Containerfile`, `FROM stagex/core-filesystem\nLABEL ${word}=1\n`);
  },
  "a package less": async (folder) => {
    if (folder.includes("/user/")) await rm(folder, { recursive: true });
  },
};

async function change(file: string, edit: (text: string) => string): Promise<void> {
  await writeFile(file, edit(await readFile(file, "utf8")));
}

describeReal("what plan says is what up does, by real builds of random edits", () => {
  let project: Project;
  let nothing: string;

  beforeAll(async () => {
    project = await Project.create();
    await project.set("verify", "false");
    nothing = join(project.folder, "empty-ledger");
    await mkdir(nothing);
    expect((await project.up()).code).toBe(0);
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  const ledger = () => join(project.folder, ".stagex/ledger");

  function plan(known: string): ShownPlan {
    const args = ["plan", "--json", "--tree", project.tree, "--ledger", known];
    const options = { encoding: "utf8", maxBuffer: 1 << 26 } as const;
    return JSON.parse(
      execFileSync(process.execPath, [join(projectRoot, "cli/stagex.mjs"), ...args], options),
    );
  }

  /** The folders of all packages. */
  async function folders(): Promise<string[]> {
    const found = await readdir(join(project.tree, "packages"), { recursive: true });
    return found
      .filter((path) => path.endsWith("/package.toml"))
      .map((path) => join(project.tree, "packages", dirname(path)))
      .sort();
  }

  test("a file that one of two subpackages reads rebuilds that one alone", async () => {
    const folder = join(project.tree, "packages/user/pair");
    const target = (name: string) =>
      `FROM scratch AS build-${name}\nADD ${name}.txt /\nFROM scratch AS package-${name}\nCOPY --from=build-${name} . /\n`;
    await mkdir(folder);
    await writeFile(
      `${folder}/package.toml`,
      '[package]\nname = "pair"\ndescription = "x"\nsubpackages = ["one", "two"]\n',
    );
    await writeFile(`${folder}/Containerfile`, `${target("one")}${target("two")}`);
    for (const name of ["one", "two"]) await writeFile(`${folder}/${name}.txt`, "old");
    await project.commit("Two of one package");
    expect((await project.up()).built).toEqual(["user-one", "user-two"]);
    await writeFile(`${folder}/one.txt`, "new");
    expect(plan(nothing).rebuild.map(({ name, certainty }) => `${certainty} ${name}`)).toEqual([
      "will user-one",
    ]);
    const { code, built } = await project.up();
    expect(code).toBe(0);
    expect(built).toEqual(["user-one"]);
    await rm(folder, { recursive: true });
    await project.commit("As it was");
    expect((await project.up()).code).toBe(0);
  });

  const seed = Number(process.env.STAGEX_SEED ?? Date.now() % 1_000_000);
  const step = fc.record({ name: fc.constantFrom(...Object.keys(edits)), place: fc.nat() });
  const series = fc.sample(fc.array(step, { minLength: 1, maxLength: 3 }), { numRuns: rounds, seed });

  test.each(series.map((steps, round) => ({ round, steps })))(
    `round $round of STAGEX_SEED=${seed}`,
    async ({ round, steps }) => {
      const told: string[] = [];
      for (const [index, { name, place }] of steps.entries()) {
        const all = await folders();
        const folder = all[place % all.length] ?? "";
        await edits[name]?.(folder, `w${round}-${index}`);
        told.push(`${name}: ${relative(project.tree, folder)}`);
      }
      await project.git("add", "--all", "--force");
      const [blind, half] = [plan(nothing), plan(ledger())];
      const { code, output, built } = await project.up();
      expect(code, `${told.join("\n")}\n${output}`).toBe(0);

      for (const foretold of [blind, half]) {
        const names = (certainty?: string) =>
          foretold.rebuild
            .filter((one) => certainty === undefined || one.certainty === certainty)
            .map(({ name }) => name);
        expect([...names(), ...foretold.added], told.join("\n")).toEqual(expect.arrayContaining(built));
        expect(built, told.join("\n")).toEqual(expect.arrayContaining([...names("will"), ...foretold.added]));
      }
      const exact = plan(ledger());
      expect([...exact.rebuild.map(({ name }) => name), ...exact.added].sort(), told.join("\n")).toEqual(
        built,
      );
      expect(exact.rebuild.every(({ certainty }) => certainty === "will")).toBe(true);
      await project.git("commit", "--quiet", "--allow-empty", "--message", told.join("\n"));
    },
  );
});
