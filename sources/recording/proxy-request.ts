import type { IncomingMessage } from "node:http";
import {
  type FetchAnswer,
  type FetchRequest,
  fetchMethods,
  maxValueLength,
  recordedHeaders,
} from "./fetch-record.ts";

/** A request with its body. */
export type RequestWithBody = FetchRequest & { readonly body?: Buffer };

/** The reason for rejecting a request that may change something. */
export const refusalText = "only GET, HEAD and git's fetch are passed on";

/**
 * Returns whether a request only reads: GET, HEAD, and the POST by which git fetches
 * (gitprotocol-http(5)).
 */
export function isReadOnly(method: string | undefined, address: string): boolean {
  if (method === "POST") return URL.parse(address)?.pathname.endsWith("/git-upload-pack") === true;
  return fetchMethods.some((name) => name === method);
}

/** Returns the method of a request that only reads. */
export function parseMethod(method: string | undefined): FetchRequest["method"] {
  return fetchMethods.find((name) => name === method) ?? "GET";
}

/**
 * Parses the address of a request.
 * @throws Error for an address that the proxy never asks, whatever the method
 */
export function parseRequestUrl(address: string): URL {
  const url = new URL(address);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new Error(`${url.protocol} is not asked`);
  if (url.username !== "" || url.password !== "") throw new Error("credentials in a URL would be recorded");
  url.hash = "";
  return url;
}

/**
 * Picks the headers of an answer that are passed on and recorded.
 * @throws Error for a value that a record can't have
 */
export function pickRecordedHeaders(headers: IncomingMessage["headers"]): FetchAnswer["headers"] {
  return Object.fromEntries(
    recordedHeaders.flatMap((name) => {
      const value = headers[name];
      if (typeof value === "string" && value.length > maxValueLength)
        throw new Error(`the answer's ${name} has more than ${maxValueLength} characters`);
      return typeof value === "string" ? [[name, value]] : [];
    }),
  );
}

/** Returns whether the client closed the connection before it had its answer. */
export function isClientGone(request: IncomingMessage, error: unknown): boolean {
  const isCut = error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE";
  return isCut || (request.destroyed && !request.complete);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
