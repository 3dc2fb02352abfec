import { cp, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { Ledger, type LedgerRecord } from "../../distro/ledger/ledger.ts";
import { inputKeyOfPlan } from "../../distro/plan/predict-digests.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { mediaTypes } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { provenancePredicateType } from "../../pipeline/statements/provenance.ts";
import { type Sbom, sbomPredicateType } from "../../pipeline/statements/sbom.ts";
import type { PropertyMap } from "../../providers/stagex/protocol/property-values.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import type { Trust } from "../../trust/quorum/quorum.ts";
import { readRoster } from "../../trust/quorum/roster-file.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { createStatement, serializeStatement, verifyStatement } from "../../trust/statements/statement.ts";
import { type WrittenLayout, writeLayout } from "../support/builders/image-layout.ts";
import { newKey, signedBy } from "../support/builders/maintainers.ts";
import { Publishing } from "../support/builders/publishing.ts";
import { stagex } from "../support/programs/stagex-command.ts";
import { describeReal } from "../support/real-tools.ts";

const image = "bootstrap-hex0";
type Layer = { mediaType: string; digest: Digest };
type Artifact = { artifactType: string; subject: { digest: Digest }; layers: Layer[] };

describeReal("what is said of an image lies beside it in the registry", () => {
  let publishing: Publishing;
  let layout: WrittenLayout;
  let digest: Digest;
  let trust: Trust;
  let inputs: PropertyMap;
  let keyFile = "";
  let tree = "";
  let version = "";

  beforeAll(async () => {
    publishing = await Publishing.start();
    tree = String(publishing.config.tree);
    const plan = (await readTree(tree)).images.get(image) ?? expect.fail("the seed tree has no hex0");
    version = plan.version;
    const [platform = ""] = plan.platforms;
    const layers = [[{ name: "hex0", content: "not really" }]];
    layout = await writeLayout(join(publishing.folder, "hex0"), { platforms: { [platform]: { layers } } });
    digest = layout.manifests[0] ?? digestOf("");
    await publishing.store.adopt(layout.folder);
    const record: LedgerRecord = {
      inputKey: inputKeyOfPlan(plan, {}),
      image,
      digests: { index: layout.index, platforms: { [platform]: digest } },
      builder: {
        id: "builder-1",
        facts: {
          arch: "amd64",
          cpuVendor: "GenuineIntel",
          kernel: "6.1",
          buildkit: "v0.34.2",
          go: "go1.26.8",
        },
      },
      seconds: 1,
      outcome: "built",
      finished: "2026-03-01T10:00:00.000Z",
    };
    for (const ledger of ["ledger", "built"])
      await new Ledger(join(publishing.folder, ".stagex", ledger)).append(record);
    const reference = `stagex/${image}:${plan.version}`;
    for (const signer of ["alice", "bob"])
      await publishing.files.sign(publishing.people, signer, { reference, digest });
    inputs = {
      image,
      reference,
      tags: [plan.version],
      digest,
      quorum: { met: true, accepted: [] },
      destinations: [`${publishing.server.host}/stagex`],
    };
    trust = {
      roster: await readRoster(join(publishing.folder, "MAINTAINERS")),
      keyring: await Keyring.load(join(publishing.folder, "keys")),
    };
    keyFile = join(publishing.folder, "alice.key");
    const [alice] = publishing.people.alice?.keys ?? [];
    await writeFile(keyFile, (alice as PrivateKey).armor(), { mode: 0o600 });
  });

  afterAll(() => publishing?.[Symbol.asyncDispose]());

  const url = (path: string) => `http://${publishing.server.host}/v2/stagex/${image}/${path}`;
  /** The artifacts beside the image, by kind: of the referrers API, or of the tag that stands for it. */
  async function beside(): Promise<Map<string, Artifact[]>> {
    const api = await fetch(url(`referrers/${digest}`));
    const tag = url(`manifests/${digest.replace(":", "-")}`);
    const listed = api.ok ? api : await fetch(tag, { headers: { accept: mediaTypes.index } });
    if (!listed.ok) return new Map();
    const { manifests } = (await listed.json()) as { manifests: { digest: Digest }[] };
    const artifacts = manifests.map(async (one): Promise<Artifact> => {
      const found = await fetch(url(`manifests/${one.digest}`), { headers: { accept: mediaTypes.manifest } });
      return (await found.json()) as Artifact;
    });
    return Map.groupBy(await Promise.all(artifacts), ({ artifactType }) => artifactType);
  }
  const blob = async ({ digest: wanted }: Layer) =>
    Buffer.from(await (await fetch(url(`blobs/${wanted}`))).arrayBuffer());

  const provenanceType = "application/vnd.in-toto+json";
  const sbomType = "application/spdx+json";

  test("a publication brings both, once, and the image is what it was", async () => {
    const outputs = await publishing.create(inputs);
    await publishing.update(inputs, outputs);
    const found = await beside();
    expect([...found.keys()].sort()).toEqual([sbomType, provenanceType]);
    for (const artifacts of found.values()) {
      expect(artifacts).toHaveLength(1);
      expect(artifacts[0]?.subject.digest).toBe(digest);
      expect(artifacts[0]?.layers).toHaveLength(1);
    }
    const [layer] = found.get(sbomType)?.[0]?.layers ?? [];
    const sbom = JSON.parse(String(await blob(layer ?? expect.fail()))) as Sbom;
    expect(sbom.packages[0]).toMatchObject({ name: image, checksums: [{ checksumValue: digest.slice(7) }] });
    expect(await publishing.server.digestOf(`stagex/${image}`, digest)).toBe(digest);
  });

  test("with a key in a file, whoever attests signs both; everybody can hold them against the roster", async () => {
    const config = { attest: "alice", signingKey: keyFile };
    const provider = await publishing.anotherProvider({ config });
    const first = publishing.provider;
    publishing.provider = provider;
    const open = { ...inputs, lookaside: "public" };
    try {
      const outputs = await publishing.create(open);
      await publishing.update(open, outputs);
    } finally {
      publishing.provider = first;
      await provider[Symbol.asyncDispose]();
    }
    for (const [type, predicateType] of [
      [provenanceType, provenancePredicateType],
      [sbomType, sbomPredicateType],
    ] as const) {
      const signed = ((await beside()).get(type) ?? []).filter(({ layers }) => layers.length === 2);
      expect(signed).toHaveLength(1);
      const [plain, message] = signed[0]?.layers ?? [];
      const verified = await verifyStatement(
        await blob(message ?? expect.fail()),
        { digest, predicateType },
        trust,
      );
      expect(verified.person).toBe("alice");
      const bytes = await blob(plain ?? expect.fail());
      const said = type === sbomType ? verified.statement.predicate : verified.statement;
      expect(JSON.parse(String(bytes))).toEqual(said);
    }
  });

  /** `stagex verify` of the published image, as whoever pulls it runs it. */
  const verify = (...more: string[]) =>
    verifyAt(`${publishing.server.host}/stagex/${image}:${version}`, ...more);
  const verifyAt = (place: string, ...more: string[]) =>
    stagex(
      ...["verify", place, "--signed-as", "stagex"],
      ...["--maintainers", join(publishing.folder, "MAINTAINERS"), "--keys", join(publishing.folder, "keys")],
      ...["--signatures", join(publishing.folder, "public"), ...more],
    );
  const both = ["--statements", "provenance,sbom"];

  test("they come along to the public lookaside, where whoever pulls the image can ask for them", async () => {
    const { code, stdout, stderr } = await verify(...both);
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toContain("provenance by alice; sbom by alice\n");
    const json = JSON.parse((await verify(...both, "--json")).stdout);
    const by = (file: string) => [
      { file, person: "alice", fingerprint: expect.stringMatching(/^[0-9A-F]{40}$/) },
    ];
    expect(json).toMatchObject([
      {
        answer: "met",
        statements: [
          { kind: "provenance", said: by("provenance-1") },
          { kind: "sbom", said: by("sbom-1") },
        ],
      },
    ]);
    expect(JSON.parse((await verify("--json")).stdout)).toMatchObject([{ answer: "met", statements: null }]);
    const each = await verify("--statements", "sbom", "--statements", "provenance");
    expect(each.stdout).toContain("sbom by alice; provenance by alice\n");
  });

  test("one that is gone from there, or was signed since, is drift, and the next up copies it", async () => {
    const open = { ...inputs, lookaside: "public" };
    const outputs = await publishing.create(open);
    expect(await publishing.read(open, outputs)).toEqual(outputs);
    const folder = signatureFolder(parseRepository(`stagex/${image}`), digest);
    await rm(join(publishing.folder, "public/statements", folder, "sbom-1"));
    const [bob] = publishing.people.bob?.keys ?? [];
    const said = createStatement([{ name: image, digest }], provenancePredicateType, { by: "bob" });
    await writeFile(
      join(publishing.folder, "signatures/statements", folder, "provenance-2"),
      await signedBy(bob as PrivateKey, Buffer.from(serializeStatement(said)).toString()),
    );
    const { reasons } = await publishing.drift(open, outputs);
    expect(reasons.map((reason) => reason.replace(/ of .*/, ""))).toEqual([
      "the lookaside does not have bob's signed provenance",
      "the lookaside does not have alice's signed sbom",
    ]);
    expect(await publishing.read(open, await publishing.update(open, outputs))).toEqual(outputs);
    expect((await verify(...both)).stdout).toContain("provenance by alice, bob; sbom by alice\n");
    for (const place of ["signatures", "public"])
      await rm(join(publishing.folder, place, "statements", folder, "provenance-2"));
  });

  test("of an image for several platforms they are copied, and found by tag and by each manifest that they name", async () => {
    const two = await publishing.image("several", { platforms: ["linux/amd64", "linux/arm64"] });
    const { index, manifests } = two.layout;
    const repository = parseRepository(`stagex/${two.name}`);
    const kept = new LookasideFolder(join(publishing.folder, "signatures/statements"), "provenance");
    const said = { alice: [index, ...manifests], bob: [index, ...manifests.slice(0, 1)] };
    for (const [person, digests] of Object.entries(said)) {
      const subjects = digests.map((one) => ({ name: two.name, digest: one }));
      const text = Buffer.from(
        serializeStatement(createStatement(subjects, provenancePredicateType, {})),
      ).toString();
      const [key] = publishing.people[person]?.keys ?? [];
      await kept.write(repository, index, await signedBy(key as PrivateKey, text));
    }
    const outputs = await publishing.create(two.inputs);
    expect(await publishing.read(two.inputs, outputs)).toEqual(outputs);
    const asked = async (what: string) => {
      const place = `${publishing.server.host}/stagex/${two.name}${what}`;
      const { stdout } = await verifyAt(place, "--statements", "provenance");
      return stdout.split("\n").flatMap((line) => /provenance by .*/.exec(line)?.[0] ?? []);
    };
    expect(await asked(":1.0")).toEqual(["provenance by alice, bob", "provenance by alice"]);
    expect(await asked(`:1.0@${manifests[0]}`)).toEqual(["provenance by alice, bob"]);
    expect(await asked(`:1.0@${manifests[1]}`)).toEqual(["provenance by alice"]);
  });

  test("where nobody of the roster has said it of this very image, that is the answer", async () => {
    const folder = signatureFolder(parseRepository(`stagex/${image}`), digest);
    const beside = join(publishing.folder, "public/statements", folder);
    const kept = await readFile(join(beside, "provenance-1"));
    const statement = (of: Digest) =>
      Buffer.from(
        serializeStatement(createStatement([{ name: image, digest: of }], provenancePredicateType, {})),
      ).toString();
    const [alice] = publishing.people.alice?.keys ?? [];
    const wrong = {
      "somebody else's": await signedBy(await newKey("mallory"), statement(digest)),
      "about another image": await signedBy(alice as PrivateKey, statement(digestOf("another"))),
      "cut off": kept.subarray(0, kept.length / 2),
      "of another kind": await readFile(join(beside, "sbom-1")),
    };
    try {
      for (const [name, bytes] of Object.entries(wrong)) {
        await rm(join(beside, "provenance-1"));
        await writeFile(join(beside, "provenance-1"), bytes);
        const { code, stdout } = await verify(...both);
        expect(code, name).toBe(1);
        expect(stdout, name).toContain("not met: no one in the roster has signed its provenance\n");
        expect((await verify("--statements", "sbom")).code, name).toBe(0);
      }
    } finally {
      await rm(join(beside, "provenance-1"));
      await writeFile(join(beside, "provenance-1"), kept);
    }
    await rename(join(publishing.folder, "public/statements"), join(publishing.folder, "elsewhere"));
    expect((await verify(...both)).stdout).toContain("has signed its provenance and sbom");
  });

  test("a kind that there is none of, and an image without a registry: said, with what to do", async () => {
    const unknown = await verify("--statements", "vex");
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('not a kind of statement: "vex" (expected provenance, or sbom');
    const pinned = await stagex(
      ...["verify", "--image", `stagex/${image}:${version}@${digest}`, "--signatures", publishing.folder],
      ...["--tree", tree, ...both],
    );
    expect(pinned.code).toBe(2);
    expect(pinned.stderr).toContain("name the image as an argument");
  });

  test("the commands say the same, sign for another maintainer, and attach; again, and nothing is new", async () => {
    const [bob] = publishing.people.bob?.keys ?? [];
    const bobs = join(publishing.folder, "bob.key");
    await writeFile(bobs, (bob as PrivateKey).armor(), { mode: 0o600 });
    // What is signed is known from the state folder's own builds.
    vi.stubEnv("STAGEX_STATE", join(publishing.folder, ".stagex"));
    onTestFinished(() => void vi.unstubAllEnvs());
    const place = ["--tree", tree];
    const trusting = [
      ...["--maintainers", join(publishing.folder, "MAINTAINERS"), "--keys", join(publishing.folder, "keys")],
      ...["--signatures", join(publishing.folder, "signatures")],
    ];
    const attach = ["--attach", `${publishing.server.host}/stagex`];
    for (const command of ["provenance", "sbom"]) {
      const first = await stagex(command, image, ...place, ...trusting, "--sign", bobs, ...attach);
      expect(first, first.stderr).toMatchObject({ code: 0, stderr: "" });
      expect(first.stdout).toContain(`signed: ${command}-2`);
      const again = await stagex(command, image, ...place, ...trusting, "--sign", bobs, ...attach);
      expect(again.stdout).toContain(`signed before by bob: ${command}-2`);
      const attached = /attached: .*/.exec(first.stdout)?.[0] ?? expect.fail();
      expect(again.stdout).toContain(attached);
    }
    const json = await stagex("sbom", image, ...place, "--json");
    const [layer] = (await beside()).get(sbomType)?.[0]?.layers ?? [];
    expect(json.stdout).toBe(`${await blob(layer ?? expect.fail())}\n`);
  });

  test("what was not built here is signed by nobody on their own accord", async () => {
    const statements = join(publishing.folder, "signatures/statements");
    for (const folder of [statements, join(publishing.folder, ".stagex/built")])
      await rm(folder, { recursive: true });
    const provider = await publishing.anotherProvider({ config: { attest: "alice", signingKey: keyFile } });
    try {
      expect(await publishing.create(inputs, { provider })).toMatchObject({ published: true });
    } finally {
      await provider[Symbol.asyncDispose]();
    }
    await expect(stat(statements)).rejects.toThrow("ENOENT");
  });

  test("an unknown image, and a key that is nobody's: said, and nothing is written", async () => {
    const place = ["--tree", tree, "--ledger", join(publishing.folder, ".stagex/ledger")];
    const unknown = await stagex("sbom", "core-sh", ...place);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("the ledger does not know the digest of");
    expect(await stagex("sbom", "core-none", ...place)).toMatchObject({ code: 1 });
    const empty = join(publishing.folder, "nobody");
    await mkdir(join(empty, "keys"), { recursive: true });
    await writeFile(join(empty, "MAINTAINERS"), "[people]\n[people.carol]\n");
    const [bob] = publishing.people.bob?.keys ?? [];
    await writeFile(join(empty, "keys/bob.asc"), (bob as PrivateKey).toPublic().armor());
    vi.stubEnv("STAGEX_STATE", join(publishing.folder, ".stagex"));
    onTestFinished(() => void vi.unstubAllEnvs());
    await cp(join(publishing.folder, ".stagex/ledger"), join(publishing.folder, ".stagex/built"), {
      recursive: true,
    });
    const stray = await stagex(
      ...["provenance", image, "--tree", tree, "--sign", keyFile, "--signatures", join(empty, "signatures")],
      ...["--maintainers", join(empty, "MAINTAINERS"), "--keys", join(empty, "keys")],
    );
    expect(stray.code).toBe(2);
    expect(stray.stderr).toContain("would not count");
  });
});
