import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseConfig } from "../../config/schema.ts";
import { pathsOf, projectRoot } from "../../lib/paths.ts";
import { parseDigest } from "../../oci/digest.ts";
import { readConfiguredTrust } from "../../pipeline/context/open-trust.ts";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
} from "../../providers/stagex/protocol/property-values.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { MaintainerFiles } from "../support/builders/maintainer-files.ts";
import { newKey, type People } from "../support/builders/maintainers.ts";
import { ProviderProcess } from "../support/programs/provider-process.ts";

const urn = "urn:pulumi:dev::stagex::stagex:index:Release$stagex:index:Quorum::core-cat";
const digest = parseDigest(`sha256:${"5eed".repeat(16)}`);
const second = parseDigest(`sha256:${"0dd5".repeat(16)}`);
const reference = "stagex/core-cat:1.0";
const image = { reference, digest };
const config = {
  tree: join(projectRoot, "examples/seed-tree"),
  maintainers: "MAINTAINERS",
  keys: "keys",
  signatures: "signatures",
};

let project: string;
let files: MaintainerFiles;
let people: People;
let provider: ProviderProcess;
let inputs: PropertyMap;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-quorum-"));
  files = new MaintainerFiles(project);
  people = {
    alice: { keys: [await newKey("alice")], brands: ["Intel"] },
    bob: { keys: [await newKey("bob")], brands: ["AMD"] },
    carol: { keys: [await newKey("carol")], brands: ["Intel"] },
  };
  await files.write(people);
  provider = await ProviderProcess.start({ cwd: project });
  await provider.configure(config);
  const { rosterDigest } = await readConfiguredTrust(parseConfig(config), pathsOf(project), "");
  inputs = {
    image: "core-cat",
    reference,
    digest,
    roster: rosterDigest,
    threshold: 2,
    vendors: 2,
    onPending: "fail",
  };
});

beforeEach(async () => {
  for (const manifest of [digest, second]) {
    const folder = signatureFolder(parseRepository("stagex/core-cat"), manifest);
    await rm(join(project, "signatures", folder), { recursive: true, force: true });
  }
  provider.log.length = 0;
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await rm(project, { recursive: true, force: true });
});

const create = (news: PropertyMap, preview = false): Promise<PropertyMap> =>
  provider.create(urn, news, preview);

async function update(news: PropertyMap, olds: PropertyMap, preview = false): Promise<PropertyMap> {
  const request = new messages.UpdateRequest();
  request.setUrn(urn);
  request.setId("core-cat");
  request.setOlds(encodeProperties(olds));
  request.setNews(encodeProperties(news));
  request.setPreview(preview);
  return decodeProperties((await provider.call("update", request)).getProperties());
}

async function read(state: PropertyMap) {
  const request = new messages.ReadRequest();
  request.setUrn(urn);
  request.setId("core-cat");
  request.setInputs(encodeProperties(inputs));
  request.setProperties(encodeProperties(state));
  return await provider.call("read", request);
}

/** What an engine takes out of the error of a resource that is made but not ready. */
async function notReady(call: Promise<unknown>): Promise<messages.ErrorResourceInitFailed> {
  const error = await call.then(
    () => Promise.reject(new Error("it is ready")),
    (found: grpc.ServiceError) => found,
  );
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!Buffer.isBuffer(details)) throw error;
  const status = statusMessages.Status.deserializeBinary(details);
  expect(status.getCode()).toBe(grpc.status.UNKNOWN);
  const [detail] = status.getDetailsList();
  expect(detail?.getTypeUrl()).toBe("type.googleapis.com/pulumirpc.ErrorResourceInitFailed");
  return messages.ErrorResourceInitFailed.deserializeBinary(detail?.getValue_asU8() ?? new Uint8Array());
}

/** What the provider tells of all that it has judged so far. */
async function told(): Promise<unknown> {
  return (await provider.invoke("stagex:index:quorums", {})).text;
}

test("is created but not ready without signatures, and lists who can sign", async () => {
  const failed = await notReady(create(inputs));
  expect(failed.getId()).toBe("core-cat");
  expect(decodeProperties(failed.getProperties())).toEqual({
    met: false,
    people: 0,
    vendors: 0,
    accepted: [],
    rejected: [],
    words: expect.stringContaining("0 of 2 people, 0 of 2 vendors"),
  });
  expect(failed.getReasonsList()).toEqual([
    "core-cat is below quorum: 0 of 2 people, 0 of 2 vendors; missing: 2 more people and 2 more CPU vendors (alice, bob, carol; on AuthenticAMD, GenuineIntel)",
  ]);
});

test("counts one person once, and is met by an update with the second", async () => {
  await files.sign(people, "alice", image);
  const first = await notReady(create(inputs));
  const [reason = ""] = first.getReasonsList();
  expect(reason).toContain("1 of 2 people (alice), 1 of 2 vendors (GenuineIntel)");
  expect(reason).toContain("missing: 1 more person and 1 more CPU vendor (bob, carol; on AuthenticAMD)");

  await files.sign(people, "carol", image);
  const olds = decodeProperties(first.getProperties());
  const again = await notReady(update(inputs, olds));
  expect(again.getReasonsList()[0]).toContain("missing: 1 more CPU vendor (bob; on AuthenticAMD)");

  await files.sign(people, "bob", image);
  const met = await update(inputs, decodeProperties(again.getProperties()));
  expect(met).toMatchObject({ met: true, people: 3, vendors: 2, verified: digest, rejected: [] });
});

test("reports rejected signatures, but not all of many", async () => {
  await files.sign(people, "alice", { ...image, reference: "stagex/core-cat:0.9" });
  const folder = parseRepository("stagex/core-cat");
  for (let one = 0; one < 60; one++) {
    await files.lookaside.write(folder, digest, Buffer.from(`junk ${one} ${"x".repeat(2000)}`));
  }
  const failed = await notReady(create(inputs));
  const outputs = decodeProperties(failed.getProperties());
  expect(outputs.rejected).toHaveLength(10);
  expect(outputs.rejected).toContainEqual(
    expect.objectContaining({ file: "signature-1", code: "other-reference" }),
  );
});

test("with defer, succeeds with what is missing and nothing verified", async () => {
  await files.sign(people, "alice", image);
  const outputs = await create({ ...inputs, onPending: "defer" });
  expect(outputs).toMatchObject({ met: false, people: 1 });
  expect(outputs).not.toHaveProperty("verified");
  expect(outputs.words).toMatch(/^1 of 2 people \(alice\)/);
});

test("with wait, counts what is signed meanwhile, and shows progress", async () => {
  await files.sign(people, "alice", image);
  const waiting = create({ ...inputs, onPending: "wait", wait: 60 });
  setTimeout(() => void files.sign(people, "bob", image), 500);
  expect(await waiting).toMatchObject({ met: true, verified: digest });
  expect(provider.log).toContainEqual(
    expect.objectContaining({
      ephemeral: true,
      message: expect.stringContaining("waiting for signatures: 1 of 2"),
    }),
  );
});

test("with wait, ignores a roster that changes meanwhile", async () => {
  const file = join(project, "MAINTAINERS");
  const before = await readFile(file);
  const waiting = create({ ...inputs, onPending: "wait", wait: 60 });
  setTimeout(() => void writeFile(file, `${before}\n[people.dave]\n`), 500);
  await expect(waiting).rejects.toThrow("the roster or its keys changed since the run began");
  await writeFile(file, before);
});

test("with wait, survives a server that is down for a moment", async () => {
  await files.sign(people, "alice", image);
  let asked = 0;
  const server = createServer(async ({ url = "" }, response) => {
    asked++;
    // First alice's signature, and that there is no other; then nothing at all, for longer than one read tries.
    if (asked === 3) await files.sign(people, "bob", image);
    const file = join(project, "signatures", decodeURIComponent(url));
    const found = await readFile(file).catch(() => undefined);
    response.writeHead(asked >= 3 && asked <= 6 ? 503 : found ? 200 : 404).end(found);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const remote = await ProviderProcess.start({ cwd: project });
  try {
    const { port } = server.address() as AddressInfo;
    await remote.configure({ ...config, signatures: `http://127.0.0.1:${port}/` });
    const request = new messages.CreateRequest();
    request.setUrn(urn);
    request.setProperties(encodeProperties({ ...inputs, onPending: "wait", wait: 60 }));
    const made = decodeProperties((await remote.call("create", request)).getProperties());
    expect(made).toMatchObject({ met: true, verified: digest });
    expect(asked).toBeGreaterThan(6);
  } finally {
    await remote[Symbol.asyncDispose]();
    server.close();
  }
});

test("with wait, fails after the timeout", async () => {
  const failed = await notReady(create({ ...inputs, onPending: "wait", wait: 0 }));
  expect(failed.getReasonsList()[0]).toContain("core-cat is below quorum");
});

test("requires the quorum for the manifest of each platform", async () => {
  const several = { ...inputs, digests: { "linux/amd64": digest, "linux/arm64": second } };
  const reason = async () => (await notReady(create(several))).getReasonsList()[0];
  expect(await reason()).toContain(
    "below quorum: 0 of 2 people, 0 of 2 vendors (each of 2 manifests); missing",
  );
  for (const person of ["alice", "bob"]) await files.sign(people, person, image);
  expect(await reason()).toMatch(/below quorum: sha256:0dd50dd50dd5…: 0 of 2 people/);
  for (const person of ["alice", "bob"]) await files.sign(people, person, { reference, digest: second });
  expect(await create(several)).toMatchObject({ met: true, verified: digest });
});

test("previews what is signed, and reports what falls below quorum", async () => {
  await files.sign(people, "alice", image);
  expect(await create(inputs, true)).toMatchObject({
    ...{ met: false, people: 1 },
    words: expect.stringMatching(/^1 of 2 people/),
  });
  expect(await told()).toMatch(/^1 of 1 images judged are below quorum.*\n.*\n {2}core-cat: 1 of 2 people/);
  const before = {
    met: true,
    people: 2,
    vendors: 2,
    accepted: [],
    rejected: [],
    words: "",
    verified: digest,
  };
  await update(inputs, before, true);
  expect(await told()).toMatch(
    /1 of which were at quorum before: core-cat\.\n.*\n {2}core-cat: 1 of 2 people/,
  );
});

test("read evaluates again: a lost quorum is not ready, with its inputs", async () => {
  for (const person of ["alice", "bob"]) await files.sign(people, person, image);
  const state = await create(inputs);
  expect(decodeProperties((await read(state)).getProperties())).toEqual(state);
  const folder = signatureFolder(parseRepository("stagex/core-cat"), digest);
  await rm(join(project, "signatures", folder, "signature-2"));
  const failed = await notReady(read(state));
  expect(decodeProperties(failed.getProperties())).toMatchObject({ met: false, people: 1 });
  expect(decodeProperties(failed.getInputs())).toEqual(inputs);
});

test("refuses a roster other than the program's", async () => {
  const call = create({ ...inputs, roster: second });
  await expect(call).rejects.toThrow(/core-cat: the roster or its keys changed since the run began/);
});

test("is not ready with a possible revocation among the keys, and names it", async () => {
  for (const person of ["alice", "bob"]) await files.sign(people, person, image);
  const file = join(project, "keys/rev.asc");
  await symlink("nowhere", file);
  const other = await ProviderProcess.start({ cwd: project });
  try {
    await other.configure(config);
    const { rosterDigest } = await readConfiguredTrust(parseConfig(config), pathsOf(project), "");
    expect(rosterDigest).not.toBe(inputs.roster);
    const mine = { ...inputs, roster: rosterDigest };
    const failed = await notReady(other.create(urn, mine));
    expect(failed.getReasonsList()).toEqual([
      "core-cat cannot be confirmed at quorum: 2 of 2 people (alice, bob), 2 of 2 vendors (GenuineIntel, AuthenticAMD), but keys may be revoked: rev.asc: it is a symbolic link, not a regular file",
    ]);
    expect(decodeProperties(failed.getProperties())).toMatchObject({ met: false, people: 2, vendors: 2 });
    expect(await other.create(urn, { ...mine, onPending: "defer" })).toMatchObject({ met: false });
    await rm(file);
    await expect(other.create(urn, mine)).rejects.toThrow(
      "the roster or its keys changed since the run began",
    );
  } finally {
    await rm(file, { force: true });
    await other[Symbol.asyncDispose]();
  }
  expect(await create(inputs)).toMatchObject({ met: true });
});

test("is met by the other keys if a possible revocation concerns one key alone", async () => {
  for (const person of ["alice", "bob", "carol"]) await files.sign(people, person, image);
  const [carol] = people.carol?.keys ?? [];
  const file = join(project, "keys/private.asc");
  await writeFile(file, carol?.armor() ?? "");
  const other = await ProviderProcess.start({ cwd: project });
  try {
    await other.configure(config);
    const { rosterDigest } = await readConfiguredTrust(parseConfig(config), pathsOf(project), "");
    expect(await other.create(urn, { ...inputs, roster: rosterDigest })).toMatchObject({
      met: true,
      people: 3,
    });
  } finally {
    await rm(file);
    await other[Symbol.asyncDispose]();
  }
});
