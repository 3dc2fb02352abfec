import { once } from "node:events";
import { copyFile } from "node:fs/promises";
import { createServer, type RequestListener, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { fetchLimits } from "../../../../sources/recording/fetch-limits.ts";
import { type FetchAnswer, formatFetchRecord } from "../../../../sources/recording/fetch-record.ts";
import { RecordingProxy } from "../../../../sources/recording/recording-proxy.ts";
import { SourceCache } from "../../../../sources/source-cache.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

type Asked = { readonly status: number; readonly body: string };

/** Starts a proxy, a host with the given answers, and a client for requests. */
async function setUp(
  answer: RequestListener,
  { known, limits }: { known?: readonly FetchAnswer[]; limits?: Partial<typeof fetchLimits> } = {},
) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  const folder = await scratchFolder();
  const cache = await SourceCache.open(join(folder, "cache"), { softwareHeritage: false });
  const socketPath = join(folder, "s");
  const proxy = await RecordingProxy.listen(socketPath, {
    ...{ cache, known, ...(limits ? { limits } : {}) },
    upstream: { mayAsk: () => true, mayBePrivate: () => true, resolveAddresses: async () => ["127.0.0.1"] },
    certify: () => Promise.reject(new Error("nobody speaks TLS here")),
  });
  onTestFinished(async () => {
    await proxy.close();
    server.closeAllConnections();
    server.close();
  });
  const host = `http://host.test:${(server.address() as AddressInfo).port}`;
  const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    new Promise<Asked>((resolve, reject) => {
      const asking = request(
        { socketPath, path: `${host}${path}`, method, headers, agent: false },
        (answer) => {
          let body = "";
          answer.on("data", (chunk) => {
            body += chunk;
          });
          answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body }));
          answer.on("error", reject);
        },
      );
      asking.on("error", reject);
      asking.end();
    });
  return { proxy, cache, ask, host, socketPath };
}

function recordOf(answers: readonly FetchAnswer[]): string {
  return formatFetchRecord({ inputKey: "0".repeat(64), image: "core-x", answers: [...answers] });
}

test("records one answer for equal concurrent requests, also where the first fails", async () => {
  let number = 0;
  const { proxy, ask } = await setUp((_, response) => {
    number++;
    const status = number === 1 ? 503 : 200;
    setTimeout(() => response.writeHead(status).end(`answer ${number}`), 50);
  });
  const found = await Promise.all([ask("/x"), ask("/x"), ask("/x"), ask("/x")]);
  expect(found.map(({ status }) => status).sort()).toEqual([200, 200, 200, 503]);
  await proxy.waitForRecordings();
  expect(proxy.answers).toHaveLength(1);
  expect(proxy.problems).toEqual([]);
  expect(recordOf(proxy.answers)).toContain("/x");
});

test("keeps a failure as a problem when another Accept header succeeds at the address", async () => {
  const { proxy, ask } = await setUp(({ headers }, response) =>
    response.writeHead(headers.accept === "a/b" ? 503 : 200).end("it"),
  );
  await ask("/x", { accept: "a/b" });
  await ask("/x");
  expect(proxy.problems).toEqual([expect.stringContaining("/x: answered with status 503")]);
});

test("records a whole answer after its client has gone", async () => {
  const { proxy, socketPath, host } = await setUp((_, response) => {
    response.write("the first bytes");
    setTimeout(() => response.end(", and the rest"), 300);
  });
  const asking = request({ socketPath, path: `${host}/slow`, agent: false });
  asking.on("error", () => undefined);
  asking.end();
  const [answer] = await once(asking, "response");
  await once(answer, "data");
  asking.destroy();
  await proxy.waitForRecordings();
  expect(proxy.answers).toMatchObject([{ size: "the first bytes, and the rest".length }]);
  expect(proxy.problems).toEqual([]);
});

test("reports an answer without an end, though its client has gone", async () => {
  const { proxy, socketPath, host } = await setUp((_, response) => {
    response.write("the first bytes");
    setTimeout(() => response.destroy(), 300);
  });
  const asking = request({ socketPath, path: `${host}/cut`, agent: false });
  asking.on("error", () => undefined);
  asking.end();
  const [answer] = await once(asking, "response");
  answer.on("error", () => undefined);
  await once(answer, "data");
  asking.destroy();
  await proxy.waitForRecordings();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(proxy.answers).toEqual([]);
  expect(proxy.problems).toEqual([expect.stringContaining("/cut")]);
});

test("rejects a replay where the record and the answer differ in size", async () => {
  const first = await setUp((_, response) => void response.end("sixteen bytes...."));
  await first.ask("/x");
  await first.proxy.waitForRecordings();
  const [answer] = first.proxy.answers;
  if (answer === undefined) throw new Error("nothing was recorded");
  const known = [{ ...answer, size: 4 }];
  const again = await setUp(() => undefined, { known });
  const path = again.cache.pathOf(answer.sha256 ?? "");
  await copyFile(first.cache.pathOf(answer.sha256 ?? ""), path);
  const asking = request({ socketPath: again.socketPath, path: answer.url, agent: false }).end();
  const [refused] = await once(asking, "response");
  expect(refused.statusCode).toBe(502);
  expect(again.proxy.problems).toEqual([expect.stringContaining("tells 4 bytes of an answer of 17")]);
});

test("bounds the problems of a step that sends requests without end", async () => {
  const { proxy, ask } = await setUp((_, response) => void response.writeHead(503).end(), {
    limits: { requests: 60 },
  });
  for (let number = 0; number < 70; number++) {
    await ask(`/missing/${number}`).catch(() => undefined);
    await ask(`/changed/${number}`, {}, "PUT").catch(() => undefined);
  }
  expect(proxy.refusals.length).toBe(20);
  expect(proxy.problems.length).toBe(21);
  expect(proxy.problems.at(-1)).toMatch(/^and \d+ more$/);
});

test("rejects an address or a redirect that is too long for a record", async () => {
  const { proxy, ask } = await setUp((_, response) =>
    response.writeHead(302, { location: `/${"x".repeat(9000)}` }).end(),
  );
  expect((await ask(`/${"y".repeat(9000)}`)).status).toBe(502);
  expect((await ask("/led")).status).toBe(502);
  expect(proxy.problems).toHaveLength(2);
  expect(proxy.answers).toEqual([]);
});
