import { expect, test } from "vitest";
import { proxyFor } from "../../../../lib/net/environment-proxy.ts";

const proxy = "http://proxy.test:3128";

function proxied(url: string, environment: NodeJS.ProcessEnv): string | undefined {
  return proxyFor(new URL(url), environment)?.redactedUrl;
}

test.each([
  ["https://a.test/x", { HTTPS_PROXY: proxy }, proxy],
  ["https://a.test/x", { https_proxy: proxy, HTTPS_PROXY: "http://other.test:1" }, proxy],
  ["https://a.test/x", { HTTP_PROXY: proxy }, undefined],
  ["http://a.test/x", { http_proxy: proxy, https_proxy: "http://other.test:1" }, proxy],
  ["http://a.test/x", { HTTPS_PROXY: proxy }, undefined],
  ["https://a.test/x", { HTTPS_PROXY: "proxy.test:3128" }, proxy],
  ["https://a.test/x", { HTTPS_PROXY: "https://proxy.test:3128" }, "https://proxy.test:3128"],
  ["https://a.test/x", { HTTPS_PROXY: "" }, undefined],
])("%s with %o goes through %s", (url, environment, expected) => {
  expect(proxied(url, environment)).toBe(expected);
});

test.each([
  ["https://a.test/", "a.test"],
  ["https://a.test/", "other.test, A.TEST"],
  ["https://b.a.test/", "a.test"],
  ["https://b.a.test/", ".a.test"],
  ["https://b.a.test/", "*.a.test"],
  ["https://a.test/", "a.test:443"],
  ["https://a.test:8443/", "a.test:8443"],
  ["https://a.test/", "*"],
  ["https://192.0.2.7/", "192.0.2.0/24"],
  ["https://192.0.2.7/", "192.0.2.7"],
  ["https://[2001:db8::7]/", "2001:db8::/32"],
  ["https://[2001:db8::7]/", "2001:db8::7"],
])("NO_PROXY excludes %s by %s", (url, list) => {
  expect(proxied(url, { HTTPS_PROXY: proxy, NO_PROXY: list })).toBeUndefined();
  expect(proxied(url, { HTTPS_PROXY: proxy, no_proxy: list })).toBeUndefined();
});

test.each([
  ["https://aa.test/", "a.test"],
  ["https://a.test/", "b.a.test"],
  ["https://a.test:8443/", "a.test:443"],
  ["https://192.0.3.7/", "192.0.2.0/24"],
  ["https://192.0.2.7/", "192.0.2.0/99"],
  ["https://a.test/", ",, ."],
  ["https://a.test/", "127.0.0.1"],
])("NO_PROXY does not exclude %s by %j", (url, list) => {
  expect(proxied(url, { HTTPS_PROXY: proxy, NO_PROXY: list })).toBe(proxy);
});

test.each(["https://127.0.0.1:5000/", "https://localhost/", "https://[::1]/", "https://[::ffff:127.0.0.1]/"])(
  "uses no proxy for this machine's own %s",
  (url) => {
    expect(proxied(url, { HTTPS_PROXY: proxy })).toBeUndefined();
  },
);

test.each(["socks5://ann:s3cret@proxy.test", "http://ann:s3 cret@[", "http://ann:s3cret%@proxy.test"])(
  "rejects %s by the variable's name, without the password",
  (value) => {
    const asked = () => proxied("https://a.test/", { HTTPS_PROXY: value });
    expect(asked).toThrow(/HTTPS_PROXY names no proxy/);
    expect(asked).not.toThrow(/s3/);
  },
);
