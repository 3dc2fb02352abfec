import { expect, test } from "vitest";
import { isLoopbackHost } from "../../../lib/address-reach.ts";
import { redirectFault } from "../../../lib/redirect-rule.ts";

const fault = (from: string, to: string) => redirectFault(new URL(from), new URL(to));

test.each([
  ["https://203.0.113.7/a", "https://203.0.113.7/b"],
  ["https://203.0.113.7/a", "https://198.51.100.1/b"],
  ["https://203.0.113.7/a", "https://[2001:db8::1]/b"],
  ["https://203.0.113.7/a", "https://[64:ff9b::8.8.8.8]/b"],
  ["https://203.0.113.7/a", "https://[2002:808:808::1]/b"],
  ["https://203.0.113.7/a", "https://[::ffff:8.8.8.8]/b"],
  ["https://10.0.0.1/a", "https://192.168.0.1/b"],
  ["https://10.0.0.1/a", "https://203.0.113.7/b"],
  ["https://127.0.0.1/a", "https://127.0.0.1:8443/b"],
  ["http://127.0.0.1/a", "http://localhost:81/b"],
  ["http://127.0.0.1/a", "https://203.0.113.7/b"],
])("%s may lead to %s", async (from, to) => {
  expect(await fault(from, to)).toBeNull();
});

test.each([
  ["https://203.0.113.7/a", "http://203.0.113.7/b", "not https"],
  ["https://127.0.0.1/a", "http://127.0.0.1/b", "not https"],
  ["http://127.0.0.1/a", "http://203.0.113.7/b", "not https"],
  ["http://127.0.0.1/a", "http://x.localhost/b", "not https"],
  ["https://203.0.113.7/a", "file:///etc/passwd", "not https"],
  ["https://203.0.113.7/a", "https://127.0.0.1/b", "loopback"],
  ["https://203.0.113.7/a", "https://localhost/b", "loopback"],
  ["https://203.0.113.7/a", "https://localhost./b", "loopback"],
  ["https://203.0.113.7/a", "https://2130706433/b", "loopback"],
  ["https://203.0.113.7/a", "https://0x7f.1/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::ffff:127.0.0.1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::ffff:10.1.2.3]/b", "private"],
  ["https://203.0.113.7/a", "https://10.1.2.3/b", "private"],
  ["https://203.0.113.7/a", "https://172.31.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://192.168.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://100.64.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://[fd12::1]/b", "private"],
  ["https://203.0.113.7/a", "https://[64:ff9b::a9fe:a9fe]/b", "link-local"],
  ["https://203.0.113.7/a", "https://[64:ff9b::10.0.0.5]/b", "private"],
  ["https://203.0.113.7/a", "https://[64:ff9b:1::8.8.8.8]/b", "private"],
  ["https://203.0.113.7/a", "https://[2002:7f00:1::1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[2002:a00:5:1:2:3:4:5]/b", "private"],
  ["https://203.0.113.7/a", "https://[::169.254.169.254]/b", "link-local"],
  ["https://203.0.113.7/a", "https://[::7f00:1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::ffff:0:127.0.0.1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[fec0::1]/b", "private"],
  ["https://203.0.113.7/a", "https://198.19.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://192.0.0.170/b", "private"],
  ["https://203.0.113.7/a", "https://[::]/b", "link-local"],
  ["https://203.0.113.7/a", "https://169.254.169.254/b", "link-local"],
  ["https://203.0.113.7/a", "https://[fe80::1]/b", "link-local"],
  ["https://203.0.113.7/a", "https://[fd00:ec2::254]/b", "link-local"],
  ["https://203.0.113.7/a", "https://0.0.0.0/b", "link-local"],
  ["https://10.0.0.1/a", "https://127.0.0.1/b", "loopback"],
  ["https://127.0.0.1/a", "https://169.254.169.254/b", "link-local"],
])("%s may not lead to %s", async (from, to, why) => {
  expect(await fault(from, to)).toContain(why);
});

test.each([
  ["localhost", true],
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["[::1]", true],
  ["x.localhost", false],
  ["127.0.0.1.example.org", false],
  ["10.0.0.1", false],
])("%s is loopback by its name: %s", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});
