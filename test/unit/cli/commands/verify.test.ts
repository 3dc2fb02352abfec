import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { digest, maintainersOf, newKey, payload, signedBy } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const program = fileURLToPath(new URL("../../../../cli/stagex.mjs", import.meta.url));
type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string };

function stagex(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

let alice: Awaited<ReturnType<typeof newKey>>;
let bob: typeof alice;

beforeAll(async () => {
  alice = await newKey("alice");
  bob = await newKey("bob");
});

/** A lookaside with Alice's signature and Bob's of another tag, a roster and keys; the options that name them. */
async function laidOut(
  ...more: Uint8Array[]
): Promise<{ folder: string; signatures: string; options: string[] }> {
  const folder = await scratchFolder();
  const signatures = join(folder, `signatures/stagex/core-seed@sha256=${digest.slice(7)}`);
  mkdirSync(signatures, { recursive: true });
  mkdirSync(join(folder, "keys"));
  const files = [
    await signedBy(alice),
    await signedBy(bob, payload({ reference: "stagex/core-seed:0.9" })),
    ...more,
  ];
  for (const [index, bytes] of files.entries())
    writeFileSync(join(signatures, `signature-${index + 1}`), bytes);
  for (const [name, key] of Object.entries({ alice, bob }))
    writeFileSync(join(folder, `keys/${name}.asc`), key.toPublic().armor());
  const people = { alice: { keys: [alice], brands: ["Intel"] }, bob: { keys: [bob], brands: ["AMD"] } };
  writeFileSync(join(folder, "MAINTAINERS"), maintainersOf(people));
  const options = [
    ...["--image", `stagex/core-seed:1.0@${digest}`, "--signatures", join(folder, "signatures")],
    ...[
      "--maintainers",
      join(folder, "MAINTAINERS"),
      "--keys",
      join(folder, "keys"),
      "--threshold",
      "2",
      "--vendors",
      "2",
    ],
  ];
  return { folder, signatures, options };
}

test("below quorum: exit 1, and what there is and why the rest does not count", async () => {
  const { options } = await laidOut();
  const { code, stdout } = await stagex("verify", ...options, "--json");
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    met: false,
    people: 1,
    vendors: 1,
    accepted: [
      {
        file: "signature-1",
        person: "alice",
        fingerprint: alice.getFingerprint().toUpperCase(),
        cpuVendor: "GenuineIntel",
      },
    ],
    rejected: [
      { file: "signature-2", code: "other-reference", reason: expect.stringContaining("core-seed:0.9") },
    ],
  });
  const page = await stagex("verify", ...options);
  expect(page.stdout).toContain("below quorum: 1 of 2 people (alice), 1 of 2 vendors (GenuineIntel)");
});

test("at quorum: exit 0, from the lookaside and from the image's own folder", async () => {
  const { options, signatures } = await laidOut(await signedBy(bob));
  expect(await stagex("verify", ...options)).toMatchObject({ code: 0, stderr: "" });
  const { code, stdout } = await stagex("verify", ...options, "--json", "--signatures", signatures);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ met: true, people: 2, vendors: 2 });
});

test("nobody has signed: exit 1", async () => {
  const { options, folder } = await laidOut();
  mkdirSync(join(folder, "empty"));
  expect(await stagex("verify", ...options, "--signatures", join(folder, "empty"))).toMatchObject({
    code: 1,
  });
});

test.each([
  ["no such roster", ["--maintainers", "/none"], /no roster/],
  ["no such keys", ["--keys", "/none"], /no keys at/],
  ["no such signatures", ["--signatures", "/none"], /no folder of signatures/],
  ["a server that does not answer", ["--signatures", "http://127.0.0.1:1/"], /no answer/],
  ["a digest that is a path", ["--image", "stagex/core-seed:1.0@sha256:../.."], /not a digest/],
  ["no tag", ["--image", `stagex/core-seed@${digest}`], /no tag/],
  ["a rule that all meet", ["--threshold", "0"], /at least 1 person/],
  ["no number", ["--vendors", "two"], /not a number/],
])("can't tell: exit 2, for %s", async (_, more, words) => {
  const { options } = await laidOut();
  const { code, stderr, stdout } = await stagex("verify", ...options, ...more);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(words);
});

test("--signed-as says how the signatures call what --image names, and a wrong one is said", async () => {
  const { options } = await laidOut(await signedBy(bob));
  const elsewhere = options.map((one) =>
    one.replace(/^stagex\/core-seed:/, "mirror.example/pulled/core-seed:"),
  );
  expect((await stagex("verify", ...elsewhere)).code).toBe(1);
  expect(await stagex("verify", ...elsewhere, "--signed-as", "stagex")).toMatchObject({ code: 0 });
  expect(await stagex("verify", ...elsewhere, "--signed-as", "UPPER CASE")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("not a repository"),
  });
});
