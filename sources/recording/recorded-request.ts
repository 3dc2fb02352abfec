import type { IncomingMessage } from "node:http";
import { type FetchAnswer, type FetchRequest, keptHeaders, longestValue, methods } from "./fetch-record.ts";

/** A request with what it sends. */
export type Asked = FetchRequest & { readonly body?: Buffer };

/** Why a request is not passed on that does not only read. */
export const refusal = "only GET, HEAD and git's fetch are passed on";

/** Whether a request only reads: GET, HEAD, and the POST by which git fetches (gitprotocol-http(5)). */
export function isReading(method: string | undefined, address: string): boolean {
  if (method === "POST") return URL.parse(address)?.pathname.endsWith("/git-upload-pack") === true;
  return methods.some((name) => name === method);
}

/** The method of a request that only reads. */
export function methodOf(method: string | undefined): FetchRequest["method"] {
  return methods.find((name) => name === method) ?? "GET";
}

/** Parses an address. @throws Error for one that is not asked, whatever the method */
export function askedFor(address: string): URL {
  const url = new URL(address);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new Error(`${url.protocol} is not asked`);
  if (url.username !== "" || url.password !== "") throw new Error("credentials in a URL would be recorded");
  url.hash = "";
  return url;
}

/** Picks the headers of an answer that are passed on and recorded. @throws Error for a value that a record can't have */
export function keptOf(headers: IncomingMessage["headers"]): FetchAnswer["headers"] {
  return Object.fromEntries(
    keptHeaders.flatMap((name) => {
      const value = headers[name];
      if (typeof value === "string" && value.length > longestValue)
        throw new Error(`the answer's ${name} has more than ${longestValue} characters`);
      return typeof value === "string" ? [[name, value]] : [];
    }),
  );
}
