import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { parseInputKey } from "../../../../distro/input-key.ts";
import { findContradictions, Ledger, type LedgerRecord } from "../../../../distro/ledger/ledger.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { facts } from "../../../support/builders/builder-facts.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { runKillable } from "../../../support/programs/killable.ts";

const key = parseInputKey(hexOf(digestOf("inputs")));

function entry(change: Partial<LedgerRecord> = {}): LedgerRecord {
  return {
    inputKey: key,
    image: "core-hello",
    digests: { index: digestOf("index"), platforms: { "linux/amd64": digestOf("amd64") } },
    builder: { id: "epyc-1", facts },
    seconds: 12.5,
    outcome: "built",
    finished: "2026-03-01T10:20:30.456Z",
    ...change,
  };
}

const by = (id: string) => ({ id, facts });
const gave = (text: string) => ({ index: null, platforms: { "linux/amd64": digestOf(text) } });

test("finds a record that another process appended", async () => {
  const root = await scratchFolder();
  expect(await new Ledger(root).lookUp(key)).toEqual({
    kind: "unknown",
    digests: null,
    records: [],
    problems: [],
  });
  const path = await new Ledger(root).append(entry());
  expect(path).toBe(join(root, key.slice(0, 2), key, "epyc-1.json"));
  expect(await new Ledger(root).lookUp(key)).toEqual({
    kind: "known",
    digests: entry().digests,
    records: [entry()],
    problems: [],
  });
});

test("keeps the CPU's model in a record, and reads older records without it", async () => {
  const ledger = new Ledger(await scratchFolder());
  const builder = { id: "epyc-2", facts: { ...facts, cpuModel: "AMD EPYC 7763" } };
  await ledger.append(entry());
  await ledger.append(entry({ builder }));
  const { records, problems } = await ledger.lookUp(key);
  expect(records.map((record) => record.builder)).toEqual([{ id: "epyc-1", facts }, builder]);
  expect(problems).toEqual([]);
});

test("accepts only a number of bytes as a record's memory", async () => {
  const ledger = new Ledger(await scratchFolder());
  await ledger.append(entry({ memory: 3 * 2 ** 30 }));
  expect((await ledger.lookUp(key)).records[0]?.memory).toBe(3 * 2 ** 30);
  for (const memory of [0, -1, 1.5]) await expect(ledger.append(entry({ memory }))).rejects.toThrow(/memory/);
});

test("answers unknown where the ledger does not exist yet", async () => {
  const ledger = new Ledger(join(await scratchFolder(), "none"));
  expect((await ledger.lookUp(key)).kind).toBe("unknown");
  expect(await ledger.readAll()).toEqual({ records: [], problems: [] });
});

test("writes equal records as equal bytes with a newline at the end", async () => {
  const [one, other] = [await scratchFolder(), await scratchFolder()];
  const { digests, builder, ...rest } = entry();
  const turned = { builder, digests: { platforms: digests.platforms, index: digests.index }, ...rest };
  const text = await readFile(await new Ledger(one).append(entry()), "utf8");
  expect(text).toBe(await readFile(await new Ledger(other).append(turned), "utf8"));
  expect(text.endsWith("}\n")).toBe(true);
});

test("keeps the first file, and its time, for an equal record", async () => {
  const ledger = new Ledger(await scratchFolder());
  const path = await ledger.append(entry());
  const before = await readFile(path, "utf8");
  expect(await ledger.append(entry({ seconds: 99, finished: "2027-01-01T00:00:00Z" }))).toBe(path);
  expect(await readFile(path, "utf8")).toBe(before);
  expect(await readdir(dirname(path))).toEqual(["epyc-1.json"]);
});

test("merges the platforms of builders that agree", async () => {
  const ledger = new Ledger(await scratchFolder());
  const both = { "linux/amd64": digestOf("amd64"), "linux/arm64": digestOf("arm64") };
  await ledger.append(entry({ builder: by("import"), digests: gave("amd64") }));
  await ledger.append(
    entry({ builder: by("xeon-1"), digests: { index: digestOf("index"), platforms: both } }),
  );
  expect(await ledger.lookUp(key)).toMatchObject({
    kind: "known",
    digests: { index: digestOf("index"), platforms: both },
  });
});

test("reports a contradiction of builders that disagree, with both records", async () => {
  const ledger = new Ledger(await scratchFolder());
  await ledger.append(entry({ digests: gave("one") }));
  await ledger.append(entry({ builder: by("xeon-1"), digests: gave("other") }));
  const { kind, digests, records } = await ledger.lookUp(key);
  expect({ kind, digests }).toEqual({ kind: "contradiction", digests: null });
  expect(records.map(({ builder }) => builder.id).sort()).toEqual(["epyc-1", "xeon-1"]);
});

test("reports a contradiction for equal manifests in two indexes, as dependents use the index", async () => {
  const ledger = new Ledger(await scratchFolder());
  const { platforms } = gave("one");
  await ledger.append(entry({ digests: { index: digestOf("index"), platforms } }));
  await ledger.append(entry({ builder: by("xeon-1"), digests: { index: digestOf("another"), platforms } }));
  expect(await ledger.lookUp(key)).toMatchObject({ kind: "contradiction", digests: null });
});

test("keeps both records of a builder that contradicts itself", async () => {
  const ledger = new Ledger(await scratchFolder());
  await ledger.append(entry({ digests: gave("one") }));
  await ledger.append(entry({ digests: gave("other") }));
  await ledger.append(entry({ digests: gave("other") }));
  const { kind, records, problems } = await ledger.lookUp(key);
  expect(kind).toBe("contradiction");
  expect(records).toHaveLength(2);
  expect(problems).toEqual([]);
});

test("keeps a mismatch as evidence, but does not make the key known", async () => {
  const ledger = new Ledger(await scratchFolder());
  await ledger.append(entry({ outcome: "mismatch", digests: gave("wrong") }));
  expect(await ledger.lookUp(key)).toMatchObject({
    kind: "unknown",
    digests: null,
    records: [{ outcome: "mismatch" }],
  });
  await ledger.append(entry({ digests: gave("right") }));
  expect(await ledger.lookUp(key)).toMatchObject({ kind: "known", digests: gave("right") });
});

test("reports damaged and foreign files, and reads the others", async () => {
  const root = await scratchFolder();
  const ledger = new Ledger(root);
  const path = await ledger.append(entry());
  const text = await readFile(path, "utf8");
  const folder = dirname(path);
  const other = join(root, "ab", "ab".repeat(32));
  await mkdir(other, { recursive: true });
  const wrong: [string, string, RegExp][] = [
    [join(folder, "cut.json"), text.slice(0, text.length / 2), /is not JSON/],
    [join(folder, "empty.json"), "", /is not JSON/],
    [join(folder, "nul.json"), "\0".repeat(200), /is not JSON/],
    [join(folder, "list.json"), "[]", /is no record/],
    [join(folder, "future.json"), text.replace("stagex-ledger/1", "stagex-ledger/2"), /is no record: format/],
    [join(folder, "surplus.json"), text.replace("{", '{"signed": true,'), /is no record/],
    [join(folder, "path.json"), text.replace("sha256:", "sha256:../"), /is no record: digests/],
    [join(folder, "xeon-9.json"), text, /is filed under another key or builder/],
    [join(other, "epyc-1.json"), text, /is filed under another key or builder/],
    [join(folder, "notes.txt"), "hello", /is not JSON/],
    [join(folder, "huge.json"), " ".repeat(70_000), /^has more than the 65536 bytes/],
  ];
  for (const [file, content] of wrong) await writeFile(file, content);
  await symlink(path, join(folder, "link.json"));

  const { records, problems } = await ledger.readAll();
  expect(records).toEqual([entry()]);
  const found = new Map(problems.map(({ path, problem }) => [path, problem]));
  for (const [file, , problem] of wrong) expect(found.get(file)).toMatch(problem);
  expect(found.get(join(folder, "link.json"))).toBe("is a symbolic link, not a regular file");
  expect(found.size).toBe(wrong.length + 1);
  expect(await ledger.lookUp(key)).toMatchObject({ kind: "known", digests: entry().digests });
});

test("appends a builder's record beside its damaged one", async () => {
  const ledger = new Ledger(await scratchFolder());
  const path = await ledger.append(entry());
  await writeFile(path, "");
  const again = await ledger.append(entry());
  expect(again).not.toBe(path);
  expect(await ledger.lookUp(key)).toMatchObject({ kind: "known", problems: [{ path }] });
  expect(await readFile(path, "utf8")).toBe("");
});

test("rejects an invalid record", async () => {
  const ledger = new Ledger(await scratchFolder());
  const wrong = [
    entry({ builder: by("../../x") }),
    entry({ builder: by("") }),
    entry({ digests: { index: null, platforms: {} } }),
    entry({ seconds: -1 }),
    entry({ finished: "yesterday" }),
  ];
  for (const record of wrong) await expect(ledger.append(record)).rejects.toThrow();
  expect(await ledger.readAll()).toEqual({ records: [], problems: [] });
});

test("readAll lists every record by image", async () => {
  const ledger = new Ledger(await scratchFolder());
  for (const image of ["user-vim", "core-musl", "core-gcc"]) {
    await ledger.append(entry({ image, inputKey: parseInputKey(hexOf(digestOf(image))) }));
  }
  expect((await ledger.readAll()).records.map(({ image }) => image)).toEqual([
    "core-gcc",
    "core-musl",
    "user-vim",
  ]);
});

test("merges two ledgers in git without a conflict", async () => {
  const folder = await scratchFolder();
  const git = (root: string, ...args: string[]) =>
    execFileSync("git", ["-C", root, "-c", "user.name=a", "-c", "user.email=a@example.org", ...args], {
      encoding: "utf8",
      stdio: "pipe",
    });
  const [ours, theirs] = [join(folder, "ours"), join(folder, "theirs")];
  await mkdir(ours);
  git(ours, "init", "-q", "-b", "main");
  await new Ledger(ours).append(entry({ builder: by("import") }));
  git(ours, "add", ".");
  git(ours, "commit", "-q", "-m", "one");
  await cp(ours, theirs, { recursive: true });
  for (const [root, builder] of [
    [ours, "epyc-1"],
    [theirs, "xeon-1"],
  ] as const) {
    await new Ledger(root).append(entry({ builder: by(builder) }));
    git(root, "add", ".");
    git(root, "commit", "-q", "-m", builder);
  }
  git(ours, "pull", "-q", "--no-rebase", "--no-edit", theirs, "main");
  const { kind, records, problems } = await new Ledger(ours).lookUp(key);
  expect([kind, records.length, problems]).toEqual(["known", 3, []]);
});

test("leaves only whole records after concurrent writers, some of them killed", async () => {
  const root = await scratchFolder();
  const count = 60;
  const whole = ["epyc-1", "epyc-1", "xeon-1"].map((id) =>
    runKillable("./record-in-ledger.ts", [root, id, `${count}`], null),
  );
  const killed = [5, 25, 60].map((after) =>
    runKillable("./record-in-ledger.ts", [root, "arm-1", "5000"], after),
  );
  const ended = await Promise.all([...whole, ...killed]);
  expect(ended.map(({ code, signal }) => signal ?? code)).toEqual([0, 0, 0, "SIGKILL", "SIGKILL", "SIGKILL"]);
  const { records, problems } = await new Ledger(root).readAll();
  expect(problems).toEqual([]);
  for (const id of ["epyc-1", "xeon-1"]) {
    expect(records.filter(({ builder }) => builder.id === id)).toHaveLength(count);
  }
  for (const { image, digests } of records) {
    expect(digests.platforms["linux/amd64"]).toBe(digestOf(image.replace("core-", "image ")));
  }
});

test("finds contradictions only of one key, among builds, on a platform that both name", () => {
  const arm = { index: null, platforms: { "linux/arm64": digestOf("arm64") } };
  const otherKey = parseInputKey(hexOf(digestOf("other inputs")));
  const one = entry({ builder: by("one"), digests: gave("a") });
  const two = entry({ builder: by("two"), digests: gave("b") });
  expect(findContradictions([one, two])).toEqual([{ inputKey: key, records: [one, two] }]);
  expect(findContradictions([one, { ...two, digests: gave("a") }])).toEqual([]);
  expect(findContradictions([one, { ...two, digests: arm }])).toEqual([]);
  expect(findContradictions([one, { ...two, inputKey: otherKey }])).toEqual([]);
  expect(findContradictions([one, { ...two, outcome: "mismatch" }])).toEqual([]);
});

test("hasRecordOf matches records platform by platform, whatever contradicts them", async () => {
  const ledger = new Ledger(await scratchFolder());
  const [amd, arm, other] = [digestOf("amd"), digestOf("arm"), digestOf("other")];
  const part = (id: string, platforms: Record<string, typeof amd>) =>
    ledger.append({ ...entry(), builder: { id, facts: null }, digests: { index: null, platforms } });
  await part("one", { "linux/amd64": amd });
  await part("two", { "linux/arm64": arm });
  const { image } = entry();
  expect(await ledger.hasRecordOf(image, key, { "linux/amd64": amd, "linux/arm64": arm })).toBe(true);
  expect(await ledger.hasRecordOf(image, key, { "linux/amd64": amd, "linux/arm64": other })).toBe(false);
  expect(await ledger.hasRecordOf("core-other", key, { "linux/amd64": amd })).toBe(false);
  await part("three", { "linux/amd64": other });
  expect(await ledger.hasRecordOf(image, key, { "linux/amd64": amd })).toBe(true);
  await ledger.append({
    ...entry(),
    builder: { id: "four", facts: null },
    digests: { index: null, platforms: { "linux/s390x": other } },
    outcome: "mismatch",
  });
  expect(await ledger.hasRecordOf(image, key, { "linux/s390x": other })).toBe(false);
});
