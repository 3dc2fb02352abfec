import { expect, test } from "vitest";
import { orderMirrorUrls } from "../../../../sources/download/mirror-url.ts";

const urlsOf = (mirrors: string[], httpsOnly = false) => orderMirrorUrls(mirrors, httpsOnly).urls;

test("asks https mirrors in the order of the tree", () => {
  const mirrors = ["https://b.test/x.tar", "https://a.test/x.tar"];
  expect(urlsOf(mirrors)).toEqual(mirrors);
});

test("asks an http mirror over https first, then as it is", () => {
  expect(urlsOf(["http://a.test/x.tar", "https://b.test/x.tar"])).toEqual([
    "https://a.test/x.tar",
    "http://a.test/x.tar",
    "https://b.test/x.tar",
  ]);
});

test("keeps a port that is written out", () => {
  expect(urlsOf(["http://a.test:8080/x"])).toEqual(["https://a.test:8080/x", "http://a.test:8080/x"]);
});

test("asks no URL twice", () => {
  expect(urlsOf(["http://a.test/x", "https://a.test/x", "http://a.test/x"])).toEqual([
    "https://a.test/x",
    "http://a.test/x",
  ]);
});

test("leaves http out where only https is wanted", () => {
  expect(urlsOf(["http://a.test/x", "https://b.test/x"], true)).toEqual([
    "https://a.test/x",
    "https://b.test/x",
  ]);
});

test.each([
  "file:///etc/passwd",
  "ftp://a.test/x",
  "git+https://a.test/x",
  "a.tar.gz",
  "https://user:word@a.test/x",
])("rejects %s with a reason", (mirror) => {
  const { urls, refused } = orderMirrorUrls([mirror, "https://a.test/x"], false);
  expect(urls).toEqual(["https://a.test/x"]);
  expect(refused).toEqual([{ mirror, reason: expect.stringMatching(/\w/) }]);
});
