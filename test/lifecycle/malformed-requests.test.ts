import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { encodeProperties } from "../../providers/stagex/protocol/property-values.ts";
import { ProviderProcess } from "../support/programs/provider-process.ts";

const urn = "urn:pulumi:dev::stagex::stagex:index:Package::core-cat";

let project: string;
let provider: ProviderProcess;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "stagex-rubbish-"));
  provider = await ProviderProcess.start({ cwd: project });
  await provider.configure({ tree: "tree" });
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await rm(project, { recursive: true, force: true });
});

afterEach(async () => {
  const info = await provider.call("getPluginInfo", new emptyMessages.Empty());
  expect(info.getVersion()).toMatch(/^\d/);
  expect(provider.process.exitCode).toBe(null);
});

/** Calls a method with these bytes for a message; resolves to the gRPC status. */
async function callRaw(method: string, frame: Uint8Array): Promise<number> {
  const session = connectHttp2(`http://${address()}`);
  const stream = session.request({
    ":method": "POST",
    ":path": `/pulumirpc.ResourceProvider/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let status = "";
  stream.on("response", (headers) => {
    status ||= String(headers["grpc-status"] ?? "");
  });
  stream.on("trailers", (trailers) => {
    status = String(trailers["grpc-status"] ?? status);
  });
  stream.on("error", () => {});
  stream.end(frame);
  stream.resume();
  await once(stream, "close");
  session.destroy();
  return Number(status);
}

function address(): string {
  return provider.client.getChannel().getTarget().replace(/^dns:/, "");
}

/** A gRPC message: no compression, its length, itself. */
function framed(message: Uint8Array, length = message.length): Uint8Array {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

test("survives bytes that are no HTTP/2", async () => {
  const [host = "", port = ""] = address().split(":");
  for (const rubbish of [randomBytes(65536), Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]) {
    const socket = connect(Number(port), host);
    socket.on("error", () => {});
    socket.end(rubbish);
    socket.resume();
    await once(socket, "close");
  }
});

test("refuses a message outside of the protocol", async () => {
  expect(await callRaw("Create", framed(Buffer.alloc(4096, 0xff)))).toBe(grpc.status.INTERNAL);
});

test("refuses an unknown method", async () => {
  expect(await callRaw("Explode", framed(Buffer.alloc(0)))).toBe(grpc.status.UNIMPLEMENTED);
});

test("a message that claims two gibibytes is refused before it is read", async () => {
  expect(await callRaw("Check", framed(Buffer.alloc(16), 2 ** 31))).toBe(grpc.status.RESOURCE_EXHAUSTED);
});

test("a message of 8 MiB is taken, as states may be large", async () => {
  const request = new messages.CheckRequest();
  request.setUrn(urn);
  request.setNews(encodeProperties({ image: "x".repeat(8 * 2 ** 20) }));
  const response = await provider.call("check", request);
  expect(response.getFailuresList().map((failure) => failure.getProperty())).toContain("image");
});

test("refuses lists nested twenty thousand deep", async () => {
  let value: Buffer = Buffer.from([0x08, 0x00]); // Value.null_value
  const field = (number: number, content: Buffer) => {
    const length: number[] = [];
    for (let rest = content.length; ; rest = Math.floor(rest / 128)) {
      length.push(rest < 128 ? rest : (rest % 128) | 128);
      if (rest < 128) break;
    }
    return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), content]);
  };
  for (let depth = 0; depth < 20_000; depth++) value = field(6, field(1, value)); // Value.list_value, ListValue.values
  const entry = Buffer.concat([field(1, Buffer.from("image")), field(2, value)]);
  const request = Buffer.concat([field(1, Buffer.from(urn)), field(3, field(1, entry))]);
  expect(await callRaw("Check", framed(request))).not.toBe(grpc.status.OK);
});

test("treats a state of another version as gone, so that it can be replaced and deleted", async () => {
  const read = new messages.ReadRequest();
  read.setUrn(urn);
  read.setId("core-cat");
  read.setInputs(encodeProperties({ picture: "core-cat", layers: [1, 2] }));
  read.setProperties(encodeProperties({ checksum: 12 }));
  expect((await provider.call("read", read)).getId()).toBe("");
  const diff = new messages.DiffRequest();
  diff.setUrn(urn);
  diff.setId("core-cat");
  diff.setOldInputs(encodeProperties({ picture: "core-cat" }));
  diff.setOlds(encodeProperties({ checksum: 12 }));
  diff.setNews(encodeProperties({ image: "core-cat" }));
  const response = await provider.call("diff", diff);
  expect(response.getChanges()).toBe(messages.DiffResponse.DiffChanges.DIFF_SOME);
  expect(response.getDiffsList().sort()).toEqual(["image", "picture"]);
});
