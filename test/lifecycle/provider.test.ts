import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parseInputKey } from "../../distro/input-key.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { Store } from "../../oci/store/store.ts";
import { unknown } from "../../pipeline/unknown-schema.ts";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
  Secret,
} from "../../providers/stagex/protocol/property-values.ts";
import { writeLayout } from "../support/builders/image-layout.ts";
import { ProviderProcess } from "../support/programs/provider-process.ts";

const digest = `sha256:${"0".repeat(64)}`;
const other = `sha256:${"1".repeat(64)}`;
const urn = "urn:pulumi:dev::stagex::stagex:index:PackageTree$stagex:index:Package::core-cat";
const inputs = {
  image: "core-cat",
  version: "1.0",
  recipe: "packages/core/cat/Containerfile",
  containerfile: digest,
  platforms: ["linux/amd64"],
  buildArgs: { VERSION: "1.0" },
  context: digest,
  sources: { "cat-1.0.tar": digest },
  mirrors: { "cat-1.0.tar": ["https://mirror.example/cat-1.0.tar"] },
  dependencies: { "bootstrap-hex0": digest },
};

const launcher = fileURLToPath(new URL("../../providers/stagex/pulumi-resource-stagex", import.meta.url));

let project: string;
let provider: ProviderProcess;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-provider-"));
  provider = await ProviderProcess.start({ cwd: project });
  await provider.configure({ tree: "tree" });
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await rm(project, { recursive: true, force: true });
});

async function checkFailures(news: PropertyMap, of = urn): Promise<Record<string, string>> {
  const request = new messages.CheckRequest();
  request.setUrn(of);
  request.setNews(encodeProperties(news));
  const response = await provider.call("check", request);
  return Object.fromEntries(
    response.getFailuresList().map((failure) => [failure.getProperty(), failure.getReason()]),
  );
}

async function diff(olds: PropertyMap, news: PropertyMap, ignored: string[] = []) {
  const request = new messages.DiffRequest();
  request.setUrn(urn);
  request.setId("core-cat");
  request.setOldInputs(encodeProperties(olds));
  request.setOlds(encodeProperties({ digest }));
  request.setNews(encodeProperties(news));
  request.setIgnorechangesList(ignored);
  return await provider.call("diff", request);
}

const strayUrn = "urn:pulumi:dev::test::test:index:Stray::x";

/** The real server with a resource that misbehaves (straying-provider.ts), configured. */
async function startStraying(): Promise<ProviderProcess> {
  const program = fileURLToPath(new URL("../support/programs/misbehaving-provider.ts", import.meta.url));
  const straying = await ProviderProcess.start({ cwd: project, program: [process.execPath, program] });
  await straying.configure({});
  return straying;
}

function kinds(response: messages.DiffResponse): Record<string, messages.PropertyDiff.Kind | undefined> {
  const found: Record<string, messages.PropertyDiff.Kind | undefined> = {};
  response.getDetaileddiffMap().forEach((change, path) => {
    found[path] = change.getKind();
  });
  return found;
}

async function preview(news: PropertyMap): Promise<PropertyMap> {
  const request = new messages.CreateRequest();
  request.setUrn(urn);
  request.setProperties(encodeProperties(news));
  request.setPreview(true);
  return decodeProperties((await provider.call("create", request)).getProperties());
}

/** Makes the ledger know what these inputs give. */
async function record(of: typeof inputs, manifest: Digest, index: Digest | null): Promise<void> {
  const { inputKey } = await preview(of);
  await new Ledger(join(project, ".stagex/ledger")).append({
    inputKey: parseInputKey(String(inputKey)),
    image: of.image,
    digests: { index, platforms: { "linux/amd64": manifest } },
    builder: { id: "amd64-here", facts: null },
    seconds: 1,
    outcome: "built",
    finished: "2026-03-01T00:00:00Z",
  });
}

test("stdout holds the port and nothing else", () => {
  expect(provider.stdout).toEqual([expect.stringMatching(/^\d+$/)]);
});

test("it tells its version and a schema with every resource and configuration key", async () => {
  const info = await provider.call("getPluginInfo", new emptyMessages.Empty());
  expect(info.getVersion()).toMatch(/^\d+\.\d+\.\d+$/);
  const schema = JSON.parse((await provider.call("getSchema", new messages.GetSchemaRequest())).getSchema());
  expect(schema.name).toBe("stagex");
  const resource = schema.resources["stagex:index:Package"];
  expect(Object.keys(resource.inputProperties).sort()).toEqual(
    [
      ...Object.keys(inputs),
      "expectedDigest",
      "expectedDigests",
      "expectedIndex",
      "generator",
      "reproduceOn",
      "target",
    ].sort(),
  );
  expect(resource.requiredInputs).not.toContain("target");
  expect(resource.inputProperties.dependencies).toMatchObject({
    type: "object",
    additionalProperties: { type: "string" },
  });
  expect(resource.inputProperties.platforms).toMatchObject({ type: "array", items: { type: "string" } });
  expect(resource.required).toContain("digest");
  expect(Object.keys(schema.config.variables)).toEqual(
    expect.arrayContaining(["tree", "images", "platforms", "verify", "buildkit"]),
  );
  for (const property of Object.values<{ description?: string }>(resource.inputProperties))
    expect(property.description).toBeTruthy();
});

test("check takes good inputs and gives them back as they are, unknowns and secrets included", async () => {
  const news: PropertyMap = {
    ...inputs,
    dependencies: { "bootstrap-hex0": unknown },
    expectedDigest: new Secret(digest),
  };
  const request = new messages.CheckRequest();
  request.setUrn(urn);
  request.setNews(encodeProperties(news));
  const response = await provider.call("check", request);
  expect(response.getFailuresList()).toEqual([]);
  expect(decodeProperties(response.getInputs())).toEqual(news);
});

test("check names every bad input at once, by its path", async () => {
  const bad = { ...inputs, recipe: "../../etc/passwd", dependencies: { "core-x": "latest" }, colour: "red" };
  expect(await checkFailures(bad)).toEqual({
    recipe: expect.stringContaining("inside the tree"),
    'dependencies["core-x"]': expect.stringContaining("not a digest"),
    colour: "no such property",
  });
});

test("check names what is missing", async () => {
  const { context: _, ...without } = inputs;
  expect(Object.keys(await checkFailures(without))).toEqual(["context"]);
});

test("a secret build argument is refused: it would be readable in the image's history", async () => {
  const failures = await checkFailures({ ...inputs, buildArgs: { TOKEN: new Secret("hunter2") } });
  expect(failures).toEqual({ "buildArgs.TOKEN": expect.stringContaining("history") });
  expect(JSON.stringify(provider.log) + provider.stderr).not.toContain("hunter2");
});

test("mirrors of a file that is no source are refused", async () => {
  const failures = await checkFailures({ ...inputs, mirrors: { "dog.tar": [] } });
  expect(failures).toEqual({ 'mirrors["dog.tar"]': expect.stringContaining("not among the sources") });
});

test("an unknown resource type is an error that says what there is", async () => {
  const failure = checkFailures(inputs, "urn:pulumi:dev::stagex::stagex:index:Packet::x");
  await expect(failure).rejects.toMatchObject({
    code: grpc.status.INVALID_ARGUMENT,
    details: expect.stringMatching(/"stagex:index:Packet".*stagex:index:Package/),
  });
});

test("diff names the innermost property, and replaces only for another image name", async () => {
  const news = {
    ...inputs,
    containerfile: other,
    dependencies: { "bootstrap-hex0": other, "core-new": digest },
  };
  const response = await diff(inputs, news);
  const { UPDATE, ADD } = messages.PropertyDiff.Kind;
  expect(response.getChanges()).toBe(messages.DiffResponse.DiffChanges.DIFF_SOME);
  expect(kinds(response)).toEqual({
    containerfile: UPDATE,
    'dependencies["bootstrap-hex0"]': UPDATE,
    'dependencies["core-new"]': ADD,
  });
  expect(response.getReplacesList()).toEqual([]);
  expect((await diff(inputs, { ...inputs, image: "core-dog" })).getReplacesList()).toEqual(["image"]);
});

test("another mirror, or another order, is no difference", async () => {
  const news = { ...inputs, mirrors: { "cat-1.0.tar": ["https://elsewhere.example/cat.tar"] } };
  expect((await diff(inputs, news)).getChanges()).toBe(messages.DiffResponse.DiffChanges.DIFF_NONE);
});

test("ignored changes are no difference", async () => {
  const response = await diff(inputs, { ...inputs, version: "2.0" }, ["version"]);
  expect(response.getChanges()).toBe(messages.DiffResponse.DiffChanges.DIFF_NONE);
});

test("a dependency that is not known yet may differ", async () => {
  const response = await diff(inputs, { ...inputs, dependencies: { "bootstrap-hex0": unknown } });
  expect(Object.keys(kinds(response))).toEqual(['dependencies["bootstrap-hex0"]']);
});

test("a preview of what was never built knows its input key and leaves the digest open", async () => {
  expect(await preview(inputs)).toMatchObject({
    inputKey: expect.stringMatching(/^[0-9a-f]{64}$/),
    digest: unknown,
    index: unknown,
  });
});

test("a preview of what is known to give another digest than the published says that it will fail", async () => {
  await record(inputs, parseDigest(other), null);
  expect(await preview({ ...inputs, expectedDigest: other })).toMatchObject({ digest: other });
  expect(await preview({ ...inputs, expectedDigest: digest })).toMatchObject({ digest: unknown });
  await expect
    .poll(() => provider.log)
    .toContainEqual({
      message: expect.stringMatching(/core-cat will fail: .*sha256:1+, and the tree publishes sha256:0+$/),
      urn,
      ephemeral: false,
    });
});

test("a preview that depends on an unknown has no outputs", async () => {
  const outputs = await preview({ ...inputs, dependencies: { "bootstrap-hex0": unknown } });
  expect(new Set(Object.values(outputs))).toEqual(new Set([unknown]));
});

test("configuration is checked key by key", async () => {
  const request = new messages.CheckRequest();
  request.setNews(encodeProperties({ tree: "x", verify: "maybe", treee: "y" }));
  const failures = (await provider.call("checkConfig", request)).getFailuresList();
  expect(Object.fromEntries(failures.map((failure) => [failure.getProperty(), failure.getReason()]))).toEqual(
    {
      verify: expect.stringContaining('"release", "all" or false'),
      treee: expect.stringContaining("stagex:tree"),
    },
  );
});

test("configuration that another resource has yet to give is no wrong one", async () => {
  const request = new messages.CheckRequest();
  request.setNews(encodeProperties({ buildkit: unknown, verify: unknown, jobs: "none" }));
  const failures = (await provider.call("checkConfig", request)).getFailuresList();
  expect(failures.map((failure) => failure.getProperty())).toEqual(["jobs"]);
});

test("another tree or builder replaces no resource", async () => {
  const request = new messages.DiffRequest();
  request.setOldInputs(encodeProperties({ tree: "a" }));
  request.setNews(encodeProperties({ tree: "b" }));
  const response = await provider.call("diffConfig", request);
  expect(response.getReplacesList()).toEqual([]);
});

test("reports no difference for a config key under its new name, and one for another value", async () => {
  const diffConfig = async (news: PropertyMap) => {
    const request = new messages.DiffRequest();
    request.setOldInputs(encodeProperties({ tree: "a", publish: "docker.io/stagex" }));
    request.setNews(encodeProperties(news));
    return (await provider.call("diffConfig", request)).getChanges();
  };
  const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
  expect(await diffConfig({ tree: "a", publishTo: "docker.io/stagex" })).toBe(DIFF_NONE);
  expect(await diffConfig({ tree: "a", publishTo: "quay.io/stagex" })).toBe(DIFF_SOME);
});

test("warns once of config keys under their old names, and works with them", async () => {
  await using old = await ProviderProcess.start({ cwd: project });
  const values = { tree: "tree", publish: "docker.io/stagex", trust: "ledger" };
  const request = new messages.CheckRequest();
  request.setNews(encodeProperties(values));
  await old.configure(values);
  expect(old.log).toEqual([]);
  for (const _time of [1, 2]) await old.call("checkConfig", request);
  await expect.poll(() => old.log).toHaveLength(1);
  expect(old.log[0]).toMatchObject({ urn: "", ephemeral: false });
  expect(old.log[0]?.message).toMatch(/stagex:publish is now stagex:publishTo/);
  expect(old.log[0]?.message).toMatch(/stagex:trust is now stagex:substituteTrust/);
});

test("the schema shows old config keys as deprecated, each with its new name", async () => {
  const schema = JSON.parse((await provider.call("getSchema", new messages.GetSchemaRequest())).getSchema());
  for (const properties of [schema.config.variables, schema.provider.inputProperties]) {
    expect(properties.publish.deprecationMessage).toContain("publishTo");
    expect(properties.publishTo.deprecationMessage).toBeUndefined();
  }
});

test("a tree that is not there is an error that names it", async () => {
  const request = new messages.CreateRequest();
  request.setUrn(urn);
  request.setProperties(encodeProperties(inputs));
  await expect(provider.call("create", request)).rejects.toMatchObject({
    details: expect.stringContaining("no folder"),
  });
});

test("deleting what is not there succeeds", async () => {
  const request = new messages.DeleteRequest();
  request.setUrn(urn);
  request.setId("core-cat");
  request.setProperties(encodeProperties({}));
  await expect(provider.call("delete", request)).resolves.toBeDefined();
});

test("a record whose index is another image's passes for no image, whatever digest it names", async () => {
  const platforms = { "linux/amd64": { layers: [[{ name: "wolf" }]] } };
  const { index } = await writeLayout(join(project, "wolf"), { platforms });
  const store = await Store.open(join(project, ".stagex/store"));
  await store.adopt(join(project, "wolf"));
  const sheep = { ...inputs, image: "core-sheep", expectedDigest: digest };
  await record(sheep, parseDigest(digest), index);

  const request = new messages.CreateRequest();
  request.setUrn(urn.replace("core-cat", "core-sheep"));
  request.setProperties(encodeProperties(sheep));
  // It is built instead, for which there is no tree here.
  await expect(provider.call("create", request)).rejects.toMatchObject({
    details: expect.stringContaining("no folder"),
  });
  expect(existsSync(join(project, "out/core-sheep"))).toBe(false);
});

test("a resource that got another name leaves its image laid out when the old one is deleted", async () => {
  const platforms = { "linux/amd64": { layers: [[{ name: "dog" }]] } };
  const { index, manifests } = await writeLayout(join(project, "dog"), { platforms });
  const store = await Store.open(join(project, ".stagex/store"));
  await store.adopt(join(project, "dog"));
  const dog = { ...inputs, image: "core-dog" };
  const [manifest = index] = manifests;
  await record(dog, manifest, index);

  const creating = new messages.CreateRequest();
  creating.setUrn(urn.replace("core-cat", "new-name"));
  creating.setProperties(encodeProperties(dog));
  const made = await provider.call("create", creating);
  expect(decodeProperties(made.getProperties())).toMatchObject({ digest: manifest, index, origin: "ledger" });
  const deleting = new messages.DeleteRequest();
  deleting.setUrn(urn.replace("core-cat", "old-name"));
  deleting.setId(made.getId());
  deleting.setProperties(made.getProperties());
  await provider.call("delete", deleting);
  expect(existsSync(join(project, "out/core-dog/index.json"))).toBe(true);
});

test("a resource whose state another version wrote can still be deleted", async () => {
  const request = new messages.DeleteRequest();
  request.setUrn(urn);
  request.setId("core-cat");
  request.setProperties(encodeProperties({ digest: 12, colour: "red" }));
  await expect(provider.call("delete", request)).resolves.toBeDefined();
});

test("a stray throw ends the calls under way with an error, and the process", async () => {
  await using straying = await startStraying();
  const request = new messages.CreateRequest();
  request.setUrn(strayUrn);
  request.setProperties(encodeProperties({}));
  await expect(straying.call("create", request)).rejects.toMatchObject({
    code: grpc.status.INTERNAL,
    details: expect.stringContaining("nobody awaits this"),
  });
  expect(await straying.ended()).toBe(1);
  expect(straying.stderr).toContain("nobody awaits this");
});

test("a throw inside a call is that call's error alone", async () => {
  await using straying = await startStraying();
  const request = new messages.DeleteRequest();
  request.setUrn(strayUrn);
  request.setProperties(encodeProperties({}));
  await expect(straying.call("delete", request)).rejects.toMatchObject({
    code: grpc.status.INTERNAL,
    details: /defect/,
  });
  await expect(straying.call("getPluginInfo", new emptyMessages.Empty())).resolves.toBeDefined();
});

test("an error too long for gRPC keeps its beginning and its end", async () => {
  await using straying = await startStraying();
  const request = new messages.DeleteRequest();
  request.setUrn(strayUrn);
  request.setId("long");
  await expect(straying.call("delete", request)).rejects.toMatchObject({
    code: grpc.status.UNKNOWN,
    details: expect.stringMatching(/^begins\n[\s\S]*\d+ bytes left out[\s\S]*\nends$/),
  });
});

test("a provider that fails to close ends all the same, and reports it", async () => {
  const program = fileURLToPath(new URL("../support/programs/misbehaving-provider.ts", import.meta.url));
  await using straying = await ProviderProcess.start({
    cwd: project,
    env: { STRAY_CLOSE: "fails" },
    program: [process.execPath, program],
  });
  await straying.configure({});
  straying.process.kill("SIGTERM");
  expect(await straying.ended()).toBe(1);
  expect(straying.stderr).toContain("it can't be let go of");
});

test("a custom time-out is told where Node's own error is thrown for it", async () => {
  await using straying = await startStraying();
  const request = new messages.ReadRequest();
  request.setUrn(strayUrn);
  request.setId("x");
  request.setTimeout(0.2);
  await expect(straying.call("read", request)).rejects.toMatchObject({
    code: grpc.status.DEADLINE_EXCEEDED,
    details: expect.stringContaining("0.2 s"),
  });
});

test("a custom time-out ends the work, and says so", async () => {
  await using straying = await startStraying();
  const request = new messages.UpdateRequest();
  request.setUrn(strayUrn);
  request.setNews(encodeProperties({}));
  request.setTimeout(0.2);
  await expect(straying.call("update", request)).rejects.toMatchObject({
    code: grpc.status.DEADLINE_EXCEEDED,
    details: expect.stringContaining("0.2 s"),
  });
});

test("cancel ends the work under way, and nothing that comes after is begun", async () => {
  await using straying = await startStraying();
  const request = new messages.UpdateRequest();
  request.setUrn(strayUrn);
  request.setNews(encodeProperties({}));
  const updating = straying.call("update", request);
  updating.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  await straying.call("cancel", new emptyMessages.Empty());
  await expect(updating).rejects.toMatchObject({ code: grpc.status.CANCELLED });
  await expect(straying.call("update", request)).rejects.toMatchObject({ code: grpc.status.CANCELLED });
});

test("an engine that attaches gets the lines, and so does the next after it", async () => {
  await record(inputs, parseDigest(other), null);
  await using attached = await ProviderProcess.start({ cwd: project, attached: true });
  const attach = new pluginMessages.PluginAttach();
  attach.setAddress(attached.engineAddress);
  for (const count of [1, 2]) {
    await attached.call("attach", attach);
    await attached.configure({ tree: "tree" });
    await attached.create(urn, { ...inputs, expectedDigest: digest }, true);
    await expect.poll(() => attached.log).toHaveLength(count);
    // With it an engine ends its providers; one that it has not started it can't end.
    await attached.call("cancel", new emptyMessages.Empty());
  }
  expect(attached.log).toContainEqual(expect.objectContaining({ urn, ephemeral: false }));
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s, by which the engine ends its providers, ends it at once and cleanly",
  async (signal) => {
    const ending = await ProviderProcess.start({ cwd: project });
    await ending.configure({});
    await ending.call("cancel", new emptyMessages.Empty());
    const started = performance.now();
    ending.process.kill(signal);
    expect(await ending.ended()).toBe(0);
    expect(performance.now() - started).toBeLessThan(5000);
    await ending[Symbol.asyncDispose]();
  },
);

test("readiness opens the store before any resource asks for it", async () => {
  await using early = await ProviderProcess.start({ cwd: project });
  await early.configure({ tree: "tree" });
  const store = join(project, ".stagex/store");
  await rm(store, { recursive: true, force: true });
  await expect(early.invoke("stagex:index:readiness", {})).resolves.toEqual({});
  expect(existsSync(join(store, "oci-layout"))).toBe(true);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("a provider whose engine was killed ends by itself", async () => {
  // A shell stands for the engine: killed, it leaves its provider to another parent.
  const engine = await ProviderProcess.start({
    cwd: project,
    program: ["sh", "-c", `"${launcher}" "$1" & echo $! >&2; wait`, "sh"],
  });
  await expect.poll(() => engine.stderr).toMatch(/^\d+\n/);
  const pid = Number.parseInt(engine.stderr, 10);
  engine.process.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  await engine[Symbol.asyncDispose]();
});

test.for([0, 300, 3000])(
  "ends if its engine was gone %i ms after its start, before it could read its parent",
  async (after) => {
    // The engine's end of stdin is a pipe that the test holds; the parent is a shell that ends at once, so the provider is an orphan.
    const folder = await mkdtemp(join(tmpdir(), "stagex-orphan-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const pipe = join(folder, "engine");
    execFileSync("mkfifo", [pipe]);
    const engine = await open(pipe, "r+");
    const shell = spawn("sh", ["-c", `"${launcher}" 127.0.0.1:1 <"${pipe}" >/dev/null & echo $!`], {
      cwd: project,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface({ input: shell.stdout }), "line")) as [string];
    const pid = Number(line);
    await sleep(after);
    expect(isAlive(pid)).toBe(true);
    await engine.close();
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  },
);
