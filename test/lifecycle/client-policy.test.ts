import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parseConfig } from "../../config/schema.ts";
import { pathsOf, projectRoot } from "../../lib/paths.ts";
import { readConfiguredTrust } from "../../pipeline/context/open-trust.ts";
import { encodeProperties, type PropertyMap } from "../../providers/stagex/protocol/property-values.ts";
import { MaintainerFiles } from "../support/builders/maintainer-files.ts";
import { newKey } from "../support/builders/maintainers.ts";
import { ProviderProcess } from "../support/programs/provider-process.ts";

const urn = "urn:pulumi:dev::stagex::stagex:index:ClientPolicy::policy";
const config = {
  tree: join(projectRoot, "examples/seed-tree"),
  maintainers: "MAINTAINERS",
  keys: "keys",
};
const repository = "registry.example/stagex";

let project: string;
let provider: ProviderProcess;
let inputs: PropertyMap;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-policy-"));
  await new MaintainerFiles(project).write({
    alice: { keys: [await newKey("alice")] },
    bob: { keys: [await newKey("bob")] },
    carol: { keys: [await newKey("carol")] },
  });
  await rm(join(project, "keys/carol.asc"));
  provider = await ProviderProcess.start({ cwd: project });
  await provider.configure(config);
  const { rosterDigest } = await readConfiguredTrust(parseConfig(config), pathsOf(project), "");
  inputs = {
    folder: "policy",
    repository,
    signedAs: "docker.io/stagex",
    lookaside: "signatures",
    threshold: 2,
    roster: rosterDigest,
  };
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await rm(project, { recursive: true, force: true });
});

const create = (news: PropertyMap, preview = false): Promise<PropertyMap> =>
  provider.create(urn, news, preview);

async function read(state: PropertyMap): Promise<string> {
  const request = new messages.ReadRequest();
  request.setUrn(urn);
  request.setId("policy");
  request.setInputs(encodeProperties(inputs));
  request.setProperties(encodeProperties(state));
  return (await provider.call("read", request)).getId();
}

async function remove(state: PropertyMap): Promise<void> {
  const request = new messages.DeleteRequest();
  request.setUrn(urn);
  request.setId("policy");
  request.setProperties(encodeProperties(state));
  await provider.call("delete", request);
}

const outputs = {
  files: ["policy.json", "keys/alice.gpg", "keys/bob.gpg", "registries.d/stagex.yaml"],
  people: ["alice", "bob"],
  without: ["carol"],
  requirements: 2,
};

test("a preview tells the files and writes none", async () => {
  expect(await create(inputs, true)).toEqual(outputs);
  expect(existsSync(join(project, "policy"))).toBe(false);
});

test("writes what stagex policy writes, names people without a key, and keeps no path", async () => {
  const state = await create(inputs);
  expect(state).toEqual(outputs);
  expect(JSON.stringify(state)).not.toContain(project);
  const policy = JSON.parse(await readFile(join(project, "policy/policy.json"), "utf8"));
  expect(policy.default).toEqual([{ type: "reject" }]);
  const requirements = policy.transports.docker[repository];
  expect(requirements.map(({ keyPaths }: { keyPaths: string[] }) => keyPaths)).toEqual([
    [join(project, "policy/keys/alice.gpg")],
    [join(project, "policy/keys/bob.gpg")],
  ]);
  expect(requirements[0].signedIdentity).toEqual({
    type: "remapIdentity",
    prefix: repository,
    signedPrefix: "docker.io/stagex",
  });
  const registries = await readFile(join(project, "policy/registries.d/stagex.yaml"), "utf8");
  expect(registries).toContain(`lookaside: "file://${join(project, "signatures")}"`);
  await vi.waitFor(() =>
    expect(provider.log.map(({ message }) => message)).toContainEqual(
      expect.stringContaining("no key found for carol"),
    ),
  );
});

test("a file that somebody changed is drift: the next up writes it", async () => {
  expect(await read(outputs)).toBe("policy");
  await writeFile(join(project, "policy/policy.json"), '{"default":[{"type":"insecureAcceptAnything"}]}');
  expect(await read(outputs)).toBe("");
  await create(inputs);
  expect(await read(outputs)).toBe("policy");
});

test("deleting takes away its own files and nothing else", async () => {
  await writeFile(join(project, "policy/notes.txt"), "mine");
  await remove(outputs);
  expect(existsSync(join(project, "policy/policy.json"))).toBe(false);
  expect(existsSync(join(project, "policy/keys"))).toBe(false);
  expect(await readFile(join(project, "policy/notes.txt"), "utf8")).toBe("mine");
  await remove(outputs);
});

test("a folder of something else is left alone, its keys too", async () => {
  await mkdir(join(project, "tree/keys"), { recursive: true });
  await writeFile(join(project, "tree/keys/bob.asc"), "of a tree");
  await expect(create({ ...inputs, folder: "tree" })).rejects.toThrow(/tree has files that are no policy/);
  expect(await readFile(join(project, "tree/keys/bob.asc"), "utf8")).toBe("of a tree");
});

test("a threshold above the people with keys is a warning in previews, and writes nothing", async () => {
  await create({ ...inputs, folder: "none", threshold: 3 }, true);
  await vi.waitFor(() =>
    expect(provider.log.map(({ message }) => message)).toContainEqual(
      expect.stringContaining("none will fail: 3 of 2 people can't be asked for"),
    ),
  );
  await expect(create({ ...inputs, folder: "none", threshold: 3 })).rejects.toThrow(
    /3 of 2 people can't be asked/,
  );
  expect(existsSync(join(project, "none"))).toBe(false);
});
