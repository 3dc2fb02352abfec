import { createServer, type RequestListener } from "node:http";
import { expect, test } from "vitest";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { createLookaside } from "../../trust/signatures/lookaside.ts";
import { defaultLookasideLimits, type LookasideLimits } from "../../trust/signatures/lookaside-server.ts";
import { UnavailableError } from "../../trust/trust-error.ts";
import { image } from "../support/builders/maintainers.ts";
import { dribbling, listening } from "../support/servers/hostile-registry.ts";

const repository = parseRepository("quay.io/stagex/core-seed");
const quick: LookasideLimits = { ...defaultLookasideLimits, file: 400, image: 1_000 };

/** Reads one image's signatures, and returns the failure and the milliseconds until then. */
async function failureAt(address: string, limits = quick): Promise<{ message: string; took: number }> {
  const began = performance.now();
  const reading = createLookaside(address, "signature", limits).read(repository, image.digest);
  const error = await reading.then(
    () => "it was read",
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof UnavailableError)) throw new Error(`expected an UnavailableError, got ${error}`);
  return { message: error.message, took: performance.now() - began };
}

async function serving(listener: RequestListener): Promise<string> {
  return `http://${await listening(createServer(listener))}/signatures`;
}

test("ends many files, each just in time, at the image's timeout", async () => {
  let asked = 0;
  const address = await serving((_request, response) => {
    asked += 1;
    setTimeout(() => response.end("a signature"), 300);
  });
  const { message, took } = await failureAt(address);
  expect(message).toMatch(/not done after (1|0\.4) s|broke off/);
  expect(took).toBeLessThan(3_000);
  expect(asked).toBeLessThan(8);
});

test("ends a file that comes byte by byte, and one that never begins", async () => {
  for (const listener of [dribbling(20, 1_000), () => {}]) {
    const { took } = await failureAt(await serving(listener));
    expect(took).toBeLessThan(3_000);
  }
});

test("asks a busy server three times", async () => {
  let asked = 0;
  const address = await serving((_request, response) => {
    asked += 1;
    response.writeHead(503, { "retry-after": "100000" }).end();
  });
  const { took } = await failureAt(address, defaultLookasideLimits);
  expect(asked).toBe(3);
  expect(took).toBeLessThan(5_000);
});

test("follows a redirect to itself a few times", async () => {
  let asked = 0;
  const address = await serving((request, response) => {
    asked += 1;
    response.writeHead(302, { location: request.url ?? "" }).end();
  });
  expect((await failureAt(address)).message).toContain("redirects more than 5 times");
  expect(asked).toBe(6);
});

test("follows redirects on loopback, and none to link-local or clear-text addresses", async () => {
  const target = await serving((request, response) => {
    if (request.url?.endsWith("-1") === true) response.end("a signature");
    else response.writeHead(404).end();
  });
  const leadingTo = (place: string) =>
    serving((request, response) => response.writeHead(302, { location: `${place}${request.url}` }).end());
  const read = await createLookaside(await leadingTo(target)).read(repository, image.digest);
  expect(read).toHaveLength(1);
  const metadata = await failureAt(await leadingTo("http://169.254.169.254"));
  expect(metadata.message).toContain("it redirects to http://169.254.169.254, which is not https");
  const secure = await failureAt(await leadingTo("https://169.254.169.254"));
  expect(secure.message).toContain("which is a link-local address, and 127.0.0.1 is not");
  const foreign = await failureAt(await leadingTo("http://x.localhost"));
  expect(foreign.message).toContain("http://x.localhost, which is not https");
});

test("fails at endless headers", async () => {
  const address = await serving((_request, response) => {
    for (let number = 0; number < 100; number += 1) response.setHeader(`x-${number}`, "x".repeat(1_000));
    response.end("a signature");
  });
  expect((await failureAt(address)).message).toMatch(/no answer/);
});
