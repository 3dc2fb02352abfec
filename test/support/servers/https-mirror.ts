import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { onTestFinished } from "vitest";
import { selfSigned } from "../builders/self-signed.ts";

const authority = selfSigned();

/** The authority of every mirror's certificate (PEM). */
export const mirrorAuthority = authority.cert;

export type Mirror = {
  /** Its address, such as https://127.0.0.1:4711 */
  readonly url: string;
  /** The headers of each request so far. */
  readonly requests: IncomingHttpHeaders[];
};

/** Answers one request; the number counts the requests from 1. */
export type Answer = (request: IncomingMessage, response: ServerResponse, number: number) => void;

/** Starts a real HTTPS server on the loopback, which ends with the test. */
export async function startMirror(answer: Answer): Promise<Mirror> {
  const requests: IncomingHttpHeaders[] = [];
  const listener: RequestListener = (request, response) => {
    requests.push(request.headers);
    answer(request, response, requests.length);
  };
  const server = createServer({ key: authority.key, cert: authority.cert }, listener);
  // Clients that reject its certificate, or are killed, are cases of the tests.
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the mirror has no port");
  return { url: `https://127.0.0.1:${address.port}`, requests };
}

/** Serves the content as a good server does: with an entity tag, and from the requested offset. */
export function serving(content: Buffer, etag = '"one"'): Answer {
  return ({ headers }, response) => {
    const from = /^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1];
    const condition = headers["if-range"];
    if (from === undefined || (condition !== undefined && condition !== etag)) {
      response.writeHead(200, { etag, "content-length": content.length }).end(content);
      return;
    }
    const start = Number(from);
    if (start >= content.length) {
      response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
      return;
    }
    const range = `bytes ${start}-${content.length - 1}/${content.length}`;
    response
      .writeHead(206, { etag, "content-range": range, "content-length": content.length - start })
      .end(content.subarray(start));
  };
}

/** Sends the beginning of the content, and then breaks the connection. */
export function breakingAfter(content: Buffer, bytes: number, etag = '"one"'): Answer {
  return (_, response) => {
    response.writeHead(200, { etag, "content-length": content.length });
    response.write(content.subarray(0, bytes), () => setTimeout(() => response.destroy(), 200));
  };
}
