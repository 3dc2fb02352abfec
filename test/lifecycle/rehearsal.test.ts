import { execFile } from "node:child_process";
import { cp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveRegistry } from "../../cli/rehearsal/registry-server.ts";
import { ended, Project, type Run } from "../support/builders/project.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

/** A leaf of the seed tree and its dependencies, in two of its stages. */
const wanted = "core-hexdump";

describeReal("npm start goes all the way with the example tree", () => {
  let project: Project;
  let first: Run;
  let commands: string[][];

  beforeAll(async () => {
    project = await Project.create();
    await cp(project.tree, join(project.folder, "examples/seed-tree"), { recursive: true });
    await project.set("tree", "examples/seed-tree");
    await project.set("images", JSON.stringify([wanted]));
    first = await project.stagexStart();
    commands = [...first.output.matchAll(/^ {2}npx stagex (.*)$/gm)].map(([, words = ""]) =>
      words.split(" "),
    );
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  /** The project's own command, as a user types it. */
  const stagex = (args: readonly string[]) => ended(project.startStagex(args));

  test("three maintainers rebuild and sign, and all is published at quorum", () => {
    expect(first.code, first.output).toBe(0);
    const count = Number(/^(\d+) built, 0 reused/m.exec(first.output)?.[1]);
    expect(count).toBeGreaterThan(3);
    for (const who of ["ash", "hazel", "rowan"]) {
      expect(first.output).toMatch(new RegExp(`^ {2}${who} +rebuilt and signed ${count} images`, "m"));
    }
    expect(first.output).toContain(`published ${count} of ${count} images to 127.0.0.1:`);
  });

  test("each maintainer built everything, in a ledger of their own", async () => {
    const digests = Object.values(await project.digests());
    for (const who of ["ash", "hazel", "rowan"]) {
      const ledger = join(project.folder, ".stagex/rehearsal", who, "ledger");
      const files = (await readdir(ledger, { recursive: true })).filter((file) => file.endsWith(".json"));
      const records = await Promise.all(files.map((file) => readFile(join(ledger, file), "utf8")));
      for (const digest of digests) {
        expect(records.some((text) => text.includes(digest) && text.includes('"built"'))).toBe(true);
      }
    }
  });

  test("the commands that it ends with hold as they stand", async () => {
    const [pinned = [], pulled = []] = commands;
    const told = await stagex(pinned);
    expect(told.code, told.output).toBe(0);
    expect(told.output).toContain("3 of 2 people");

    const registry = await serveRegistry(
      join(project.folder, ".stagex/rehearsal/registry"),
      realTool("registry"),
    );
    try {
      const hashed = await stagex(pulled);
      expect(hashed.code, hashed.output).toBe(0);
      expect(hashed.output).toMatch(/1 of 1 met/);
    } finally {
      await registry.close();
    }
  });

  test("a second time nothing is built, signed or pushed again", async () => {
    const before = await signatures(project);
    const second = await project.stagexStart();
    expect(second.code, second.output).toBe(0);
    expect(second.output).toMatch(/^0 built/m);
    for (const who of ["ash", "hazel", "rowan"])
      expect(second.output).toMatch(new RegExp(`${who} +has signed all`));
    expect(await signatures(project)).toEqual(before);
    expect(second.output).toMatch(/published (\d+) of \1 images/);
  });

  test("no private key is in the exported state of any stack, nor readable by others", async () => {
    const secrets = join(project.folder, ".stagex/rehearsal/secrets");
    for (const file of await readdir(secrets)) {
      const key = await readFile(join(secrets, file), "utf8");
      const lines = key.split("\n").filter((line) => line.length > 40);
      for (const stack of ["rehearsal-ash", "rehearsal-release"]) {
        const { output } = await project.run(["stack", "export", "--show-secrets", "--stack", stack]);
        for (const line of lines) expect(output.includes(line)).toBe(false);
      }
    }
    const { stdout } = await new Promise<{ stdout: string }>((resolve, reject) =>
      execFile("find", [secrets, "-perm", "/077"], (error, found) =>
        error ? reject(error) : resolve({ stdout: found }),
      ),
    );
    expect(stdout).toBe("");
  });

  test("--no-rehearsal stops after building", async () => {
    const run = await project.stagexStart(["--no-rehearsal"]);
    expect(run.code, run.output).toBe(0);
    expect(run.output).not.toContain("throw-away maintainers");
  });
});

async function signatures({ folder }: Project): Promise<string[]> {
  const found: string[] = [];
  for (const place of ["signatures", "lookaside"]) {
    found.push(...(await readdir(join(folder, ".stagex/rehearsal", place), { recursive: true })));
  }
  return found.sort();
}
