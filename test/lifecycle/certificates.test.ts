import { X509Certificate } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
  Secret,
} from "../../providers/stagex/protocol/property-values.ts";
import { ProviderProcess } from "../support/programs/provider-process.ts";

let project: string;
let provider: ProviderProcess;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-certificates-"));
  provider = await ProviderProcess.start({ cwd: project });
  await provider.configure({});
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await rm(project, { recursive: true, force: true });
});

const urnOf = (type: string): string => `urn:pulumi:fleet::stagex::stagex:index:${type}::it`;

const create = (type: string, inputs: PropertyMap): Promise<PropertyMap> =>
  provider.create(urnOf(type), inputs);

const authorityInputs = { commonName: "fleet", days: 60, generation: 1 };
const subject = { commonName: "intel-1", names: ["intel-1"], side: "server", days: 60, generation: 1 };

function secretIn(properties: PropertyMap, name: string): Secret {
  const found = properties[name];
  if (!(found instanceof Secret)) throw new Error(`${name} is not secret: ${JSON.stringify(found)}`);
  return found;
}

test("keys leave the provider as secrets alone, and the certificate is the authority's", async () => {
  const authority = await create("Authority", authorityInputs);
  const authorityKey = secretIn(authority, "key");
  const made = await create("Certificate", {
    ...subject,
    authority: authority.certificate,
    authorityKey,
  });
  expect(secretIn(made, "key").value).toContain("PRIVATE KEY");
  const leaf = new X509Certificate(String(made.certificate));
  expect(leaf.verify(new X509Certificate(String(authority.certificate)).publicKey)).toBe(true);
  expect(leaf.subjectAltName).toBe("DNS:intel-1");
});

test("a refresh gives back the same key, still as a secret", async () => {
  const outputs = await create("Authority", authorityInputs);
  const request = new messages.ReadRequest();
  request.setId("fleet");
  request.setUrn(urnOf("Authority"));
  request.setInputs(encodeProperties(authorityInputs));
  request.setProperties(encodeProperties(outputs));
  const read = decodeProperties((await provider.call("read", request)).getProperties());
  expect(secretIn(read, "key").value).toBe(secretIn(outputs, "key").value);
});

test("an authority's key that is no secret is refused before anything is made", async () => {
  const request = new messages.CheckRequest();
  request.setUrn(urnOf("Certificate"));
  request.setNews(encodeProperties({ ...subject, authority: "x", authorityKey: "in clear" }));
  const [failure] = (await provider.call("check", request)).getFailuresList();
  expect([failure?.getProperty(), failure?.getReason()]).toEqual([
    "authorityKey",
    expect.stringMatching(/must be secret/),
  ]);
});

test("the next generation is another authority, not a change of this one", async () => {
  const request = new messages.DiffRequest();
  request.setUrn(urnOf("Authority"));
  request.setId("fleet");
  request.setOldInputs(encodeProperties(authorityInputs));
  request.setNews(encodeProperties({ ...authorityInputs, generation: 2 }));
  expect((await provider.call("diff", request)).getReplacesList()).toEqual(["generation"]);
});

test("the schema says which outputs are secret", async () => {
  const schema = JSON.parse((await provider.call("getSchema", new messages.GetSchemaRequest())).getSchema());
  for (const type of ["Authority", "Certificate"]) {
    const { properties } = schema.resources[`stagex:index:${type}`];
    expect([type, properties.key.secret, properties.certificate.secret]).toEqual([type, true, undefined]);
  }
});
