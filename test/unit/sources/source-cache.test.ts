import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import type { Source } from "../../../distro/build-plan.ts";
import { SourceError, type SourceProgress } from "../../../sources/download/source-error.ts";
import { SourceCache, type SourceCacheOptions } from "../../../sources/source-cache.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";
import { runKillable } from "../../support/programs/killable.ts";
import {
  type Answer,
  breakingAfter,
  mirrorAuthority,
  serving,
  startMirror,
} from "../../support/servers/https-mirror.ts";

const content = randomBytes(300_000);
const sha256 = (bytes: Buffer | string) => createHash("sha256").update(bytes).digest("hex");

function source(...mirrors: string[]): Source {
  return { name: "hello", file: "hello-1.0.tar.gz", sha256: sha256(content), mirrors };
}

async function newCache(options: SourceCacheOptions = {}): Promise<SourceCache> {
  const root = join(await scratchFolder(), "cache");
  return SourceCache.open(root, { ca: mirrorAuthority, backoff: 10, ...options });
}

/** Answers the first requests with the given status, and later ones as `then` does. */
function failing(times: number, status: number, headers: Record<string, string>, then: Answer): Answer {
  return (request, response, number) => {
    if (number > times) then(request, response, number);
    else response.writeHead(status, headers).end("not now");
  };
}

async function failureOf(work: Promise<unknown>): Promise<SourceError> {
  const error = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (!(error instanceof SourceError)) throw new Error(`expected a SourceError, got ${error}`);
  return error;
}

/** Expects only whole files under final names, and no partial ones. */
async function expectOnly(cache: SourceCache, ...hashes: string[]): Promise<void> {
  expect(await readdir(join(cache.root, "sha256"))).toEqual(hashes);
  for (const hash of hashes) expect(sha256(await readFile(join(cache.root, "sha256", hash)))).toBe(hash);
  expect(await readdir(join(cache.root, "partial"))).toEqual([]);
}

test("asks no mirror and no last resort where only the vault is allowed", async () => {
  const mirror = await startMirror(serving(content));
  const cache = await newCache({ softwareHeritage: true });
  const events: SourceProgress[] = [];
  const options = { isVaultOnly: true, onProgress: (event: SourceProgress) => events.push(event) };
  await failureOf(cache.obtain(source(`${mirror.url}/hello`), options));
  expect(events).toEqual([]);
});

test("fetches a source from its mirror once, and then from the cache", async () => {
  const mirror = await startMirror(serving(content));
  const cache = await newCache();
  const progress: SourceProgress[] = [];
  const path = await cache.obtain(source(`${mirror.url}/hello`), {
    onProgress: (event) => progress.push(event),
  });
  expect(path).toBe(join(cache.root, "sha256", sha256(content)));
  expect((await stat(path)).mode & 0o777).toBe(0o444);
  expect(progress[0]).toEqual({ kind: "trying", from: `${mirror.url}/hello` });
  expect(progress.at(-1)).toEqual({
    kind: "bytes",
    from: `${mirror.url}/hello`,
    received: content.length,
    total: content.length,
  });
  expect(await cache.obtain(source(`${mirror.url}/hello`))).toBe(path);
  expect(mirror.requests).toHaveLength(1);
  await expectOnly(cache, sha256(content));
});

test("asks mirrors in order, and asks an absent file's mirror once", async () => {
  const none = await startMirror((_, response) => response.writeHead(404).end());
  const good = await startMirror(serving(content));
  const spare = await startMirror(serving(content));
  const cache = await newCache();
  await cache.obtain(source(none.url, good.url, spare.url));
  expect([none, good, spare].map(({ requests }) => requests.length)).toEqual([1, 1, 0]);
});

test("reports the source, the hash and the failure of each mirror", async () => {
  const none = await startMirror((_, response) => response.writeHead(404).end());
  const forbidden = await startMirror((_, response) => response.writeHead(403).end());
  const cache = await newCache();
  const error = await failureOf(cache.obtain(source(`${none.url}/a?key=secret`, forbidden.url)));
  expect(error.message).toContain("source hello (hello-1.0.tar.gz) can't be obtained");
  expect(error.message).toContain(`expected sha256 ${sha256(content)}`);
  expect(error.message).toContain(`${none.url}/a: 404 Not Found`);
  expect(error.message).toContain(`${forbidden.url}/: 403 Forbidden`);
  expect(error.message).not.toContain("secret");
  await expectOnly(cache);
});

test("reports a source without any mirror", async () => {
  const error = await failureOf((await newCache()).obtain(source()));
  expect(error.message).toContain("it names no mirror, and the local archive does not have it");
});

for (const status of [429, 500, 503]) {
  test(`retries after a ${status}`, async () => {
    const mirror = await startMirror(failing(2, status, {}, serving(content)));
    await (await newCache()).obtain(source(mirror.url));
    expect(mirror.requests).toHaveLength(3);
  });
}

test("gives up a mirror that fails every time", async () => {
  const mirror = await startMirror((_, response) => response.writeHead(500).end());
  const error = await failureOf((await newCache({ attempts: 3 })).obtain(source(mirror.url)));
  expect(error.message).toContain("500 Internal Server Error (asked 3 times)");
  expect(mirror.requests).toHaveLength(3);
});

test("honours Retry-After for up to a minute", async () => {
  const polite = await startMirror(failing(1, 429, { "retry-after": "1" }, serving(content)));
  const cache = await newCache();
  const began = performance.now();
  await cache.obtain(source(polite.url));
  expect(performance.now() - began).toBeGreaterThan(990);

  const endless = await startMirror(failing(9, 503, { "retry-after": "3600" }, serving(content)));
  const error = await failureOf((await newCache()).obtain(source(endless.url)));
  expect(error.message).toContain("503 Service Unavailable, and asks to wait 3600 s");
  expect(endless.requests).toHaveLength(1);
});

test("resumes a reset connection at the break, if the file is still the same", async () => {
  const good = serving(content);
  const mirror = await startMirror((request, response, number) =>
    (number === 1 ? breakingAfter(content, 100_000) : good)(request, response, number),
  );
  const cache = await newCache();
  await cache.obtain(source(mirror.url));
  expect(mirror.requests).toHaveLength(2);
  expect(mirror.requests[1]).toMatchObject({ range: "bytes=100000-", "if-range": '"one"' });
  await expectOnly(cache, sha256(content));
});

test("restarts a file that changed between two attempts", async () => {
  const good = serving(content, '"two"');
  const mirror = await startMirror((request, response, number) =>
    (number === 1 ? breakingAfter(randomBytes(300_000), 100_000, '"one"') : good)(request, response, number),
  );
  const cache = await newCache();
  await cache.obtain(source(mirror.url));
  await expectOnly(cache, sha256(content));
});

test("restarts where a server ignores Range", async () => {
  const whole: Answer = (_, response) => response.writeHead(200).end(content);
  const mirror = await startMirror((request, response, number) =>
    (number === 1 ? breakingAfter(content, 100_000) : whole)(request, response, number),
  );
  const cache = await newCache();
  await cache.obtain(source(mirror.url));
  expect(mirror.requests).toHaveLength(2);
  await expectOnly(cache, sha256(content));
});

test("requests the whole file from a server that answers with another range", async () => {
  const shifted: Answer = (_, response) => {
    response.writeHead(206, { "content-range": "bytes 5-9/300000" }).end("wrong");
  };
  const answers = [breakingAfter(content, 100_000), shifted, serving(content)];
  const mirror = await startMirror((request, response, number) =>
    answers[number - 1]?.(request, response, number),
  );
  const cache = await newCache();
  await cache.obtain(source(mirror.url));
  expect(mirror.requests[2]?.range).toBeUndefined();
  await expectOnly(cache, sha256(content));
});

test("continues another mirror's bytes, and retries once where pieces of different files mix", async () => {
  const half = await startMirror(breakingAfter(content, 100_000));
  const rest = await startMirror(serving(content, '"of another server"'));
  const cache = await newCache({ attempts: 1 });
  await cache.obtain(source(half.url, rest.url));
  expect(rest.requests.map(({ range }) => range)).toEqual(["bytes=100000-"]);
  await expectOnly(cache, sha256(content));

  const rubbish = await startMirror(breakingAfter(randomBytes(300_000), 100_000));
  const other = await newCache({ attempts: 1 });
  await other.obtain(source(rubbish.url, rest.url));
  expect(rest.requests.map(({ range }) => range)).toEqual(["bytes=100000-", "bytes=100000-", undefined]);
  await expectOnly(other, sha256(content));
  expect(await readdir(join(other.root, "rejected"))).toEqual([]);
});

test("asks the next mirror after one that left more bytes than the file has", async () => {
  const oversized = await startMirror(breakingAfter(randomBytes(600_000), 500_000));
  const good = await startMirror(serving(content));
  const cache = await newCache({ attempts: 2 });
  await cache.obtain(source(oversized.url, good.url));
  await expectOnly(cache, sha256(content));
});

test("puts wrong content aside, asks the next mirror, and reports both hashes", async () => {
  const wrong = randomBytes(1000);
  const bad = await startMirror(serving(wrong));
  const good = await startMirror(serving(content));
  const cache = await newCache();
  await cache.obtain(source(bad.url, good.url));
  const aside = join(cache.root, "rejected", `${sha256(content)}-${sha256(wrong)}`);
  expect(await readFile(aside)).toEqual(wrong);
  await expectOnly(cache, sha256(content));

  const error = await failureOf((await newCache()).obtain(source(bad.url, `${bad.url}/again`)));
  expect(error.failures.map(({ got }) => got)).toEqual([sha256(wrong), sha256(wrong)]);
  expect(error.message).toContain(`wrong content: its 1000 bytes have sha256 ${sha256(wrong)}`);
});

test("rejects a truncated body without a length as wrong content", async () => {
  const mirror = await startMirror((_, response) => {
    response.writeHead(200, { connection: "close" }).end(content.subarray(0, 1000));
  });
  const cache = await newCache();
  expect((await failureOf(cache.obtain(source(mirror.url)))).message).toContain(
    "wrong content: its 1000 bytes",
  );
  await expectOnly(cache);
});

test("gives up a server that dribbles, and one that never answers", async () => {
  const timers: NodeJS.Timeout[] = [];
  onTestFinished(() => timers.forEach(clearInterval));
  const dribbling = await startMirror((_, response) => {
    response.writeHead(200, { "content-length": content.length });
    timers.push(setInterval(() => response.write("x"), 20));
  });
  const silent = await startMirror(() => undefined);
  const cache = await newCache({ idleTimeout: 200, attempts: 2 });
  const error = await failureOf(cache.obtain(source(dribbling.url, silent.url)));
  expect(error.failures.map(({ reason }) => reason)).toEqual([
    "the connection was idle or too slow (asked 2 times)",
    "the connection was idle or too slow (asked 2 times)",
  ]);
});

test("waits for a slow server that keeps sending", async () => {
  const mirror = await startMirror((_, response) => {
    response.writeHead(200);
    let sent = 0;
    const timer = setInterval(() => {
      response.write(content.subarray(sent, sent + 30_000));
      sent += 30_000;
      if (sent < content.length) return;
      clearInterval(timer);
      response.end();
    }, 60);
  });
  await (await newCache({ idleTimeout: 200, attempts: 1 })).obtain(source(mirror.url));
});

/** Starts a server on the loopback that speaks only http, and counts its requests. */
async function startPlain(): Promise<{ readonly url: string; readonly requests: () => number }> {
  let requests = 0;
  const plain = createServer((_, response) => {
    requests += 1;
    response.end(content);
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void plain.close());
  await once(plain, "listening");
  const address = plain.address();
  const port = typeof address === "object" ? address?.port : 0;
  return { url: `http://127.0.0.1:${port}/hello`, requests: () => requests };
}

test("follows redirects up to a limit", async () => {
  const target = await startMirror(serving(content));
  const via = await startMirror((_, response) =>
    response.writeHead(302, { location: `${target.url}/x` }).end(),
  );
  const cache = await newCache();
  await cache.obtain(source(via.url));
  await expectOnly(cache, sha256(content));

  const loop = await startMirror((_, response) => response.writeHead(307, { location: "/again" }).end());
  const lost = await startMirror((_, response) => response.writeHead(302).end());
  const file = await startMirror((_, response) => response.writeHead(302, { location: "file:///x" }).end());
  const error = await failureOf(
    (await newCache()).obtain(source(loop.url, lost.url, file.url, "ftp://a/b", "hello")),
  );
  expect(error.failures.map(({ reason }) => reason)).toEqual([
    "redirects more than 10 times",
    "302 without a usable Location",
    "refused: redirects to file:///x, which is not https",
    "not asked: nothing is fetched from ftp URLs, only from https and http",
    "not asked: it is not a URL",
  ]);
});

test("asks an http mirror over https first, and then over http, as the hash guards the bytes", async () => {
  const plain = await startPlain();
  const cache = await newCache();
  const tried: string[] = [];
  await cache.obtain(source(plain.url), {
    onProgress: (progress) => {
      if (progress.kind === "trying") tried.push(progress.from);
    },
  });
  await expectOnly(cache, sha256(content));
  expect(tried).toEqual([plain.url.replace("http:", "https:"), plain.url]);
  expect(plain.requests()).toBe(1);
});

test("follows a redirect to http", async () => {
  const plain = await startPlain();
  const down = await startMirror((_, response) => response.writeHead(301, { location: plain.url }).end());
  await (await newCache()).obtain(source(down.url));
  expect(plain.requests()).toBe(1);
});

test("connects to the checked address of a name that a redirect leads to", async () => {
  const target = await startMirror(serving(content));
  const named = target.url.replace("127.0.0.1", "localhost");
  const via = await startMirror((_, response) => response.writeHead(302, { location: `${named}/x` }).end());
  const answers = ["127.0.0.1", "169.254.169.254"];
  const asked: string[] = [];
  const resolveAddresses = async (host: string) => {
    asked.push(host);
    return [answers[asked.length - 1] ?? ""];
  };
  await (await newCache({ resolveAddresses })).obtain(source(via.url));
  expect(asked).toEqual(["localhost"]);
  const error = await failureOf((await newCache({ resolveAddresses })).obtain(source(via.url)));
  expect(error.failures.map(({ reason }) => reason)).toEqual([
    `refused: redirects to ${named}/x, which is a link-local address, and 127.0.0.1 is not`,
  ]);
  expect(target.requests).toHaveLength(1);
});

test("sends nothing over http with httpsOnly", async () => {
  const plain = await startPlain();
  const down = await startMirror((_, response) => response.writeHead(301, { location: plain.url }).end());
  const error = await failureOf((await newCache({ httpsOnly: true })).obtain(source(down.url, plain.url)));
  expect(error.failures.map(({ reason }) => reason)).toEqual([
    `refused: redirects to ${plain.url}, which is not https`,
    expect.stringMatching(/./),
  ]);
  expect(plain.requests()).toBe(0);
});

test("skips a host without an answer for the next file", async () => {
  const cache = await newCache();
  const url = "https://127.0.0.1:1/x";
  expect((await failureOf(cache.obtain(source(url)))).failures[0]?.reason).toMatch(/ECONNREFUSED/);
  const next = { ...source(url), sha256: sha256("another") };
  expect((await failureOf(cache.obtain(next))).failures[0]?.reason).toMatch(
    /^not asked again in this run: .*ECONNREFUSED/,
  );
});

test("keeps a body labelled Content-Encoding: gzip as sent", async () => {
  const packed = gzipSync(content);
  const mirror = await startMirror((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-type": "application/x-gzip" }).end(packed);
  });
  const cache = await newCache();
  const path = await cache.obtain({ ...source(mirror.url), sha256: sha256(packed) });
  expect(await readFile(path)).toEqual(packed);
  expect(mirror.requests[0]?.["accept-encoding"]).toBe("identity");
});

test("rejects a certificate of an unknown authority without a retry", async () => {
  const mirror = await startMirror(serving(content));
  const cache = await SourceCache.open(join(await scratchFolder(), "cache"), { backoff: 10 });
  const error = await failureOf(cache.obtain(source(mirror.url)));
  expect(error.message).toMatch(/self-signed certificate.*\(DEPTH_ZERO_SELF_SIGNED_CERT\)\n/);
  expect(mirror.requests).toHaveLength(0);
});

test("gives up a mirror that is unreachable", async () => {
  const error = await failureOf((await newCache()).obtain(source("https://127.0.0.1:1/x")));
  expect(error.message).toMatch(/https:\/\/127\.0\.0\.1:1\/x: .*ECONNREFUSED/);
});

test("rejects a file over the size limit, with or without a length", async () => {
  const announced = await startMirror(serving(content));
  const silent = await startMirror((_, response) => response.writeHead(200).end(content));
  const cache = await newCache({ sizeLimit: 100_000 });
  const error = await failureOf(cache.obtain(source(announced.url, silent.url)));
  expect(error.failures[0]?.reason).toBe("300000 bytes are over the limit of 100000");
  expect(error.failures[1]?.reason).toMatch(/bytes are over the limit of 100000/);
});

test("reads the local archive first, as a folder or a file, and copies without links", async () => {
  const mirror = await startMirror(serving(content));
  const folder = join(await scratchFolder(), "fetch", "core", "hello");
  const file = join(folder, "hello-1.0.tar.gz");
  await mkdir(folder, { recursive: true });
  await writeFile(file, content);
  for (const archive of [folder, file]) {
    const cache = await newCache();
    const path = await cache.obtain(source(mirror.url), { archives: ["/nowhere", archive] });
    expect((await stat(path)).ino).not.toBe((await stat(file)).ino);
    await expectOnly(cache, sha256(content));
  }
  expect(mirror.requests).toHaveLength(0);
});

test("keeps a wrong file in the local archive, reports it and asks the mirrors", async () => {
  const mirror = await startMirror(serving(content));
  const folder = await scratchFolder();
  const file = join(folder, "hello-1.0.tar.gz");
  await writeFile(file, "wrong");
  const failed: SourceProgress[] = [];
  const cache = await newCache();
  await cache.obtain(source(mirror.url), {
    archives: [folder],
    onProgress: (event) => event.kind === "failed" && failed.push(event),
  });
  const reason = `wrong content: ${file} has sha256 ${sha256("wrong")}; it was left as it is`;
  expect(failed).toEqual([{ kind: "failed", from: folder, reason, got: sha256("wrong") }]);
  await expectOnly(cache, sha256(content));
  const error = await failureOf((await newCache()).obtain(source(), { archives: [folder] }));
  expect(error.message).toContain(reason);
  expect(await readFile(file, "utf8")).toBe("wrong");
});

test("finds one flipped bit in the cache at the next use, and replaces the file", async () => {
  const mirror = await startMirror(serving(content));
  const cache = await newCache();
  const path = await cache.obtain(source(mirror.url));
  const { mtime, atime } = await stat(path);
  const bytes = Buffer.from(content);
  bytes[150_000] = (bytes[150_000] ?? 0) ^ 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
  await utimes(path, atime, mtime);
  expect(await cache.obtain(source(mirror.url))).toBe(path);
  expect(await readFile(join(cache.root, "rejected", `${sha256(content)}-${sha256(bytes)}`))).toEqual(bytes);
  await expectOnly(cache, sha256(content));
  expect(mirror.requests).toHaveLength(2);
});

test("rejects file names and hashes that lead elsewhere", async () => {
  const cache = await newCache();
  for (const file of ["../x", "a/b", "", ".", "..", "a\0b"]) {
    await expect(cache.obtain({ ...source(), file })).rejects.toThrow("is not a plain file name");
  }
  for (const hash of ["../../x", "", "A".repeat(64)]) {
    await expect(cache.obtain({ ...source(), sha256: hash })).rejects.toThrow("is not a sha256");
  }
});

test("ends an aborted download at once, and continues it the next time", async () => {
  const good = serving(content);
  const mirror = await startMirror((request, response, number) => {
    if (number > 1) return good(request, response, number);
    response.writeHead(200, { "content-length": content.length }).write(content.subarray(0, 100_000));
  });
  const cache = await newCache();
  const stop = new AbortController();
  const reason = new Error("stopped by the user");
  const obtaining = cache.obtain(source(mirror.url), {
    signal: stop.signal,
    onProgress: (event) => event.kind === "bytes" && event.received === 100_000 && stop.abort(reason),
  });
  await expect(obtaining).rejects.toBe(reason);
  await cache.obtain(source(mirror.url));
  expect(mirror.requests[1]?.range).toBe("bytes=100000-");
  await expectOnly(cache, sha256(content));
});

test("ends a wait between attempts at once when aborted", async () => {
  const mirror = await startMirror((_, response) => response.writeHead(503).end());
  const cache = await newCache({ backoff: 60_000 });
  const reason = new Error("stopped by the user");
  const began = performance.now();
  await expect(cache.obtain(source(mirror.url), { signal: abortAfter(200, reason) })).rejects.toBe(reason);
  expect(performance.now() - began).toBeLessThan(5_000);
});

function abortAfter(milliseconds: number, reason: Error): AbortSignal {
  const stop = new AbortController();
  setTimeout(() => stop.abort(reason), milliseconds);
  return stop.signal;
}

/** Serves slowly enough for a kill during the transfer. */
function slowly(content: Buffer): Answer {
  const good = serving(content);
  return (request, response, number) => {
    if (request.headers.range !== undefined) return good(request, response, number);
    response.writeHead(200, { etag: '"one"', "content-length": content.length });
    let sent = 0;
    const timer = setInterval(() => {
      response.write(content.subarray(sent, sent + 50_000));
      sent += 50_000;
      if (sent < content.length) return;
      clearInterval(timer);
      response.end();
    }, 30);
    response.on("close", () => clearInterval(timer));
  };
}

test("downloads a file once for concurrent calls, here and in other processes", async () => {
  const mirror = await startMirror(slowly(content));
  const cache = await newCache();
  const authority = join(await scratchFolder(), "ca.pem");
  await writeFile(authority, mirrorAuthority);
  const other = runKillable("./obtain-source.ts", [cache.root, authority, mirror.url, sha256(content)], null);
  const paths = await Promise.all([1, 2, 3].map(() => cache.obtain(source(mirror.url))));
  expect(new Set(paths).size).toBe(1);
  expect(await other).toMatchObject({ code: 0, output: "begin\n" });
  expect(mirror.requests).toHaveLength(1);
  await expectOnly(cache, sha256(content));
});

test("leaves no half file after SIGKILL at any moment, and continues the next time", async () => {
  const cache = await newCache();
  const authority = join(await scratchFolder(), "ca.pem");
  await writeFile(authority, mirrorAuthority);
  const moments = [20, 100, 200, 300, 400, 500];
  const rounds = moments.map(async (killAfter) => {
    const bytes = randomBytes(1_000_000);
    const mirror = await startMirror(slowly(bytes));
    const wanted = { ...source(mirror.url), sha256: sha256(bytes) };
    const ended = await runKillable(
      "./obtain-source.ts",
      [cache.root, authority, mirror.url, wanted.sha256],
      killAfter,
    );
    const path = join(cache.root, "sha256", wanted.sha256);
    const early = await readFile(path).catch(() => null);
    if (early !== null) expect(sha256(early)).toBe(wanted.sha256);
    expect(await cache.obtain(wanted)).toBe(path);
    expect(sha256(await readFile(path))).toBe(wanted.sha256);
    return {
      killed: ended.signal === "SIGKILL",
      resumed: mirror.requests.some(({ range }) => range !== undefined),
    };
  });
  const results = await Promise.all(rounds);
  expect(results.filter(({ killed }) => killed).length).toBeGreaterThan(2);
  expect(results.filter(({ resumed }) => resumed).length).toBeGreaterThan(0);
  expect(await readdir(join(cache.root, "partial"))).toEqual([]);
});

function tinyFileSystem(folder: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
}

test("reports a full disk as such, without blaming a mirror or leaving a file", async ({ skip }) => {
  const folder = await scratchFolder();
  if (!tinyFileSystem(folder)) return skip("needs the right to mount a tmpfs");
  try {
    const mirror = await startMirror(serving(content));
    const cache = await SourceCache.open(folder, { ca: mirrorAuthority, backoff: 10 });
    await expect(cache.obtain(source(mirror.url))).rejects.toThrow(
      `source hello (hello-1.0.tar.gz): the disk is full; free some space for ${folder}`,
    );
    expect(mirror.requests).toHaveLength(1);
    await expectOnly(cache);
  } finally {
    execFileSync("umount", [folder]);
  }
});

test("keeps the last twenty wrong files", async () => {
  const cache = await newCache();
  const rejected = join(cache.root, "rejected");
  for (let number = 10; number < 40; number++) await writeFile(join(rejected, `old-${number}`), "x");
  const mirror = await startMirror(serving(Buffer.from("wrong")));
  await failureOf(cache.obtain(source(mirror.url)));
  const names = await readdir(rejected);
  expect(names).toHaveLength(20);
  expect(names).toContain(`${sha256(content)}-${sha256(Buffer.from("wrong"))}`);
});

test("rejects a file over the limit in the local archive", async () => {
  const folder = await scratchFolder();
  await writeFile(join(folder, source().file), Buffer.alloc(2000));
  const cache = await newCache({ sizeLimit: 1000 });
  expect((await failureOf(cache.obtain(source(), { archives: [folder] }))).message).toContain(
    "left out: it has more",
  );
});
