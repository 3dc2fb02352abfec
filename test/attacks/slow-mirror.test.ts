import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SourceError } from "../../sources/download/source-error.ts";
import { SourceCache, type SourceCacheOptions, sourceLimits } from "../../sources/source-cache.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { type Answer, mirrorAuthority, serving, startMirror } from "../support/servers/https-mirror.ts";

const content = randomBytes(300_000);
const sha256 = createHash("sha256").update(content).digest("hex");

async function obtain(mirrors: readonly string[], options: SourceCacheOptions): Promise<string> {
  const root = join(await scratchFolder(), "cache");
  const cache = await SourceCache.open(root, { ca: mirrorAuthority, backoff: 10, attempts: 2, ...options });
  const source = { name: "hello", file: "hello.tar.gz", sha256, mirrors };
  return await cache.obtain(source).catch((error: unknown) => {
    if (!(error instanceof SourceError)) throw error;
    return error.failures.map(({ reason }) => reason).join("; ");
  });
}

/** Sends so many bytes each 20 ms. Each interval is fast enough for a live connection. */
function steady(bytes: number): Answer {
  return (_request, response) => {
    response.writeHead(200, { "content-length": content.length });
    let sent = 0;
    const timer = setInterval(() => {
      response.write(content.subarray(sent, sent + bytes));
      sent += bytes;
      if (sent >= content.length) response.end();
    }, 20);
    response.on("close", () => clearInterval(timer));
  };
}

test("leaves a mirror that stays slow, and continues with the next", async () => {
  const slow = await startMirror(steady(40));
  const good = await startMirror(serving(content));
  const began = performance.now();
  const path = await obtain([slow.url, good.url], { average: 16_384, probation: 500 });
  expect(path).toContain(sha256);
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(slow.requests).toHaveLength(1);
  expect(Number(/^bytes=(\d+)-$/.exec(good.requests[0]?.range ?? "")?.[1])).toBeGreaterThan(0);
});

test("gives a mirror that breaks off no more time", async () => {
  const slow = await startMirror((_request, response) => {
    response.writeHead(200, { "content-length": content.length });
    response.write(content.subarray(0, 100), () => setTimeout(() => response.destroy(), 300));
  });
  const began = performance.now();
  const failure = await obtain([slow.url], { attempts: 1_000, backoff: 1, average: 16_384, probation: 800 });
  expect(failure).toContain("too slow: less than 16384 bytes a second");
  expect(performance.now() - began).toBeLessThan(5_000);
});

test("ends an endless mirror at its timeout, and all mirrors at theirs", async () => {
  const slow = [await startMirror(steady(40)), await startMirror(steady(40)), await startMirror(steady(40))];
  const began = performance.now();
  const urls = slow.map(({ url }) => url);
  const failure = await obtain(urls, { average: 1, longest: 700 });
  expect(failure).toMatch(/^not done after 0\.7 s; not done after 0\.\d+ s; not asked: the time/);
  expect(performance.now() - began).toBeLessThan(5_000);
});

test("waits between attempts no longer than the mirror's timeout", async () => {
  const busy = await startMirror((_request, response) =>
    response.writeHead(503, { "retry-after": "50" }).end(),
  );
  const began = performance.now();
  expect(await obtain([busy.url], { longest: 700 })).toContain("not done after 0.7 s");
  expect(performance.now() - began).toBeLessThan(5_000);
});

test("reports a web page with status 200", async () => {
  const page = await startMirror((_request, response) => {
    response
      .writeHead(200, { "content-type": "text/html; charset=utf-8" })
      .end("<html>Welcome to the airport");
  });
  const failure = await obtain([page.url], {});
  expect(failure).toMatch(/^wrong content: a web page instead of the file, its 28 bytes have sha256/);
});

test("fails at endless headers", async () => {
  const mirror = await startMirror((_request, response) => {
    for (let number = 0; number < 100; number += 1) response.setHeader(`x-${number}`, "x".repeat(1_000));
    response.end(content);
  });
  expect(await obtain([mirror.url], {})).toContain("HPE_HEADER_OVERFLOW");
});

test("does not follow a redirect to a link-local address", async () => {
  const mirror = await startMirror((_request, response) =>
    response.writeHead(302, { location: "https://169.254.169.254/latest" }).end(),
  );
  expect(await obtain([mirror.url], {})).toBe(
    "refused: redirects to https://169.254.169.254/latest, which is a link-local address, and 127.0.0.1 is not",
  );
});

test("the limits add up to hours, not days", () => {
  const { longest, probation, average, sizeLimit } = sourceLimits;
  expect(longest).toBeLessThanOrEqual(3 * 3600_000);
  expect(probation).toBeLessThan(longest);
  // What takes the whole time at the least speed is far smaller than what may come.
  expect((longest / 1000) * average).toBeLessThan(sizeLimit);
});
