import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type grpc from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeProperties, type PropertyMap } from "../../providers/stagex/protocol/property-values.ts";
import { expectHarmless, hostileName, hostileText } from "../support/builders/hostile-text.ts";
import { packageFiles, trackedTree } from "../support/builders/written-tree.ts";
import { ProviderProcess } from "../support/programs/provider-process.ts";

let project: string;
let provider: ProviderProcess;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-words-"));
  provider = await ProviderProcess.start({ cwd: project });
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await rm(project, { recursive: true, force: true });
});

const digest = `sha256:${"a".repeat(64)}`;
const inputs: PropertyMap = {
  image: "user-x",
  version: "1",
  recipe: "packages/user/x/Containerfile",
  containerfile: digest,
  platforms: ["linux/amd64"],
  buildArgs: {},
  context: digest,
  sources: {},
  dependencies: {},
};

async function checked(news: PropertyMap, type = "Package"): Promise<string[]> {
  const request = new messages.CheckRequest();
  request.setUrn(`urn:pulumi:dev::stagex::stagex:index:${type}::x`);
  request.setNews(encodeProperties(news));
  const response = await provider.call("check", request);
  return response.getFailuresList().map((failure) => {
    expectHarmless(failure.getProperty());
    expectHarmless(failure.getReason());
    return failure.getProperty();
  });
}

test("inputs with control sequences of Pulumi's display are refused, and printed escaped", async () => {
  expect(await checked(inputs)).toEqual([]);
  for (const words of ["\u001b[2J", "a\nb", "\u202e", "##[error]x", "<{%x%}>"]) {
    const hostile: PropertyMap[] = [
      { version: words },
      { recipe: `packages/user/x/${words}` },
      { target: words },
      { platforms: [words] },
      { image: words },
      { buildArgs: { A: words } },
      { sources: { [words]: digest } },
      { mirrors: { "x.tar": [`https://mirror.example/${words}`] } },
      { dependencies: { [words]: digest } },
      { reproduceOn: [words] },
      { [words]: words },
    ];
    for (const one of hostile) expect(await checked({ ...inputs, ...one })).toHaveLength(1);
  }
  for (const type of ["Attestation", "Publication", "Quorum", "Builder", "ClientPolicy", "Authority"])
    await checked({ [hostileName]: hostileText, image: hostileText, name: hostileText }, type);
});

/** The texts of a failed call: its message and, where the resource is not ready, its reasons. */
function textsOf(error: grpc.ServiceError): string[] {
  const [details] = error.metadata.get("grpc-status-details-bin");
  if (!(details instanceof Uint8Array)) return [error.details];
  const status = statusMessages.Status.deserializeBinary(details);
  const reasons = status
    .getDetailsList()
    .flatMap((detail: { getValue_asU8(): Uint8Array }) =>
      messages.ErrorResourceInitFailed.deserializeBinary(detail.getValue_asU8()).getReasonsList(),
    );
  return [error.details, status.getMessage(), ...reasons];
}

async function failed(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: grpc.ServiceError) => thrown,
  );
  const texts = error === undefined ? [] : textsOf(error);
  expect(texts.length).toBeGreaterThan(0);
  for (const text of texts) expectHarmless(text);
  return texts.join("\n");
}

test("statuses escape the text of a tree, a configuration and a caller", async () => {
  const tree = trackedTree({
    ...packageFiles("user/x", {
      toml: `version = "1"\n${JSON.stringify(hostileText).replaceAll("\u009b", "")} = 1\nversoin = 1\n`,
    }),
    [`packages/user/${hostileName}/package.toml`]: hostileText,
    [`packages/user/${hostileName}/Containerfile`]: hostileText,
  });
  await failed(provider.configure({ tree, jobs: hostileText, [hostileText]: hostileText }));
  await provider.configure({ tree });
  const urn = "urn:pulumi:dev::stagex::stagex:index:Package::user-x";
  expect(await failed(provider.create(urn, inputs))).toContain("FORGED");
  await failed(provider.create(urn, { ...inputs, sources: { [hostileName]: 1 } }));
  await failed(provider.create(`urn:pulumi:dev::stagex::${hostileText}::x`, inputs));
  await failed(provider.invoke(hostileText, {}));
  for (const { message } of provider.log) expectHarmless(message);
  expectHarmless(provider.stdout.join("\n"));
  expectHarmless(provider.stderr);
});
