import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseRepository } from "../../../../trust/signatures/image-reference.ts";
import { createLookaside } from "../../../../trust/signatures/lookaside.ts";
import { LookasideFolder } from "../../../../trust/signatures/lookaside-folder.ts";
import { maxSignatures, signatureFolder } from "../../../../trust/signatures/signature-file.ts";
import { image } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const { digest } = image;
const repository = parseRepository("quay.io/stagex/core-seed");
const place = signatureFolder(repository, digest);

async function serving(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/signatures`;
}

test("lays folders out as podman and StageX do, without the registry's host", () => {
  expect(place).toBe(`stagex/core-seed@sha256=${digest.slice(7)}`);
});

test("writes under the next free number, and equal bytes once", async () => {
  const lookaside = new LookasideFolder(await scratchFolder());
  const write = (text: string) => lookaside.write(repository, digest, Buffer.from(text));
  expect([await write("a"), await write("b"), await write("a")]).toEqual([
    "signature-1",
    "signature-2",
    "signature-1",
  ]);
  const read = await lookaside.read(repository, digest);
  expect(read.map((one) => ("bytes" in one ? Buffer.from(one.bytes).toString() : one))).toEqual(["a", "b"]);
});

test("gives concurrent writers a number each, and leaves no drafts", async () => {
  const folder = await scratchFolder();
  const texts = Array.from({ length: 20 }, (_, index) => `signature of ${index}`);
  const files = await Promise.all(
    texts.map((text) => new LookasideFolder(folder).write(repository, digest, Buffer.from(text))),
  );
  expect(new Set(files).size).toBe(20);
  expect(readdirSync(join(folder, place)).sort()).toEqual([...files].sort());
  const read = await new LookasideFolder(folder).read(repository, digest);
  const found = read.map((one) => ("bytes" in one ? Buffer.from(one.bytes).toString() : ""));
  expect(found.sort()).toEqual([...texts].sort());
});

test("removes the draft of a killed writer at the next write, and keeps a recent one", async () => {
  const folder = await scratchFolder();
  mkdirSync(join(folder, place), { recursive: true });
  const [dead, alive] = [join(folder, place, ".new-dead"), join(folder, place, ".new-alive")];
  for (const draft of [dead, alive]) writeFileSync(draft, "half a signat");
  utimesSync(dead, new Date(), new Date(Date.now() - 2 * 3600_000));
  await new LookasideFolder(folder).write(repository, digest, Buffer.from("whole"));
  expect(readdirSync(join(folder, place)).sort()).toEqual([".new-alive", "signature-1"]);
});

test("refuses to write to a full folder", async () => {
  const folder = await scratchFolder();
  mkdirSync(join(folder, place), { recursive: true });
  for (let number = 1; number <= maxSignatures; number++)
    writeFileSync(join(folder, place, `signature-${number}`), `${number}`);
  await expect(new LookasideFolder(folder).write(repository, digest, Buffer.from("more"))).rejects.toThrow(
    /128 signatures/,
  );
});

test("returns an empty list without signatures, and fails without a lookaside", async () => {
  const folder = await scratchFolder();
  expect(await createLookaside(folder).read(repository, digest)).toEqual([]);
  expect(await createLookaside(`file://${folder}`).read(repository, digest)).toEqual([]);
  await expect(createLookaside(join(folder, "none")).read(repository, digest)).rejects.toThrow(
    /no folder of signatures/,
  );
});

test("ends the list at a 404", async () => {
  const asked: string[] = [];
  const address = await serving(({ url = "" }, response) => {
    asked.push(url);
    response.writeHead(url.endsWith("-3") ? 404 : 200).end(`of ${url.slice(-1)}`);
  });
  const files = await createLookaside(address).read(repository, digest);
  expect(files.map((one) => ("bytes" in one ? Buffer.from(one.bytes).toString() : one))).toEqual([
    "of 1",
    "of 2",
  ]);
  expect(asked[0]).toBe(`/signatures/${place}/signature-1`);
});

test.each([403, 429, 500, 503])("fails at a %i", async (status) => {
  const address = await serving(({ url = "" }, response) => {
    response.writeHead(url.endsWith("-2") ? status : 200).end("x");
  });
  await expect(createLookaside(address).read(repository, digest)).rejects.toThrow(
    new RegExp(`answered ${status}.*try again`),
  );
});

test.each([429, 503])("retries after a temporary %i", async (status) => {
  let asked = 0;
  const address = await serving(({ url = "" }, response) => {
    asked++;
    response.writeHead(asked < 3 ? status : url.endsWith("-2") ? 404 : 200).end("x");
  });
  expect(await createLookaside(address).read(repository, digest)).toMatchObject([{ file: "signature-1" }]);
  expect(asked).toBe(4);
});

test("fails if a server breaks off or is not there", async () => {
  const address = await serving((_, response) => {
    response.writeHead(200, { "content-length": 1000 }).write("x");
    response.destroy();
  });
  await expect(createLookaside(address).read(repository, digest)).rejects.toThrow(/broke off|no answer/);
  await expect(createLookaside("http://127.0.0.1:1/").read(repository, digest)).rejects.toThrow(/no answer/);
});

test("stops at a server that never ends, in files or in bytes", async () => {
  const endless = await serving((_, response) => response.writeHead(200).end("<html>"));
  const files = await createLookaside(endless).read(repository, digest);
  expect(files).toHaveLength(maxSignatures + 1);
  expect(files.at(-1)).toMatchObject({ rejection: { code: "too-many" } });
  const large = await serving(({ url = "" }, response) => {
    response.writeHead(url.endsWith("-1") ? 200 : 404).end(Buffer.alloc(4 * 1024 * 1024));
  });
  expect(await createLookaside(large).read(repository, digest)).toMatchObject([
    { rejection: { code: "too-large" } },
  ]);
});

test("accepts plain http for this machine only", () => {
  expect(() => createLookaside("http://sigs.example/")).toThrow(/must be https/);
});

test("refuses a password in an address without repeating it", () => {
  const open = () => createLookaside("https://alice:open-sesame@signatures.example/stagex");
  expect(open).toThrow(/^(?!.*(alice|sesame)).*have no place in it/);
});

test("waits once for a server that does not answer", async () => {
  let asked = 0;
  const address = await serving((request) => {
    asked++;
    request.socket.destroy();
  });
  const lookaside = createLookaside(address);
  for (let image = 0; image < 5; image++)
    await expect(lookaside.read(repository, digest)).rejects.toThrow(/no answer from/);
  expect(asked).toBe(1);
});

test("refuses an address with a query without repeating its token", () => {
  const open = () => createLookaside("https://signatures.example/stagex?token=open-sesame");
  expect(open).toThrow(/^(?!.*sesame).*can't be asked for/);
});
