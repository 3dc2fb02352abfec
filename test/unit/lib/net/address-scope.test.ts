import os from "node:os";
import { expect, onTestFinished, test, vi } from "vitest";
import { isLoopbackHost, scopeOfAddress, scopeOfHost } from "../../../../lib/net/address-scope.ts";

const common = { netmask: "", mac: "00:00:00:00:00:00", internal: false, cidr: null };

/** A machine with these addresses at its interface. */
function machineAt(...addresses: readonly string[]): void {
  const eth0 = addresses.map((address) =>
    address.includes(":")
      ? { ...common, address, family: "IPv6" as const, scopeid: 0 }
      : { ...common, address, family: "IPv4" as const },
  );
  const spy = vi.spyOn(os, "networkInterfaces").mockReturnValue({ eth0, gone: undefined });
  onTestFinished(() => spy.mockRestore());
}

test.each([
  "203.0.113.7",
  "::ffff:203.0.113.7",
  "::203.0.113.7",
  "64:ff9b::203.0.113.7",
  "2002:cb00:7107::1",
  "2001:db8::7",
  "2001:DB8:0:0::7%eth0",
  "10.0.0.7",
])("an address of this machine is its loopback: %s", (address) => {
  machineAt("203.0.113.7", "2001:db8::7", "10.0.0.7");
  expect(scopeOfAddress(address)).toBe("loopback");
});

test("the addresses of this machine's interfaces are loopback", () => {
  const all = Object.values(os.networkInterfaces()).flatMap((each) => each ?? []);
  const found = all.map(({ address }) => scopeOfAddress(address)).filter((reach) => reach !== "link-local");
  expect(new Set(found)).toEqual(new Set(["loopback"]));
});

test("link-local addresses and those of other machines keep their scope", () => {
  machineAt("203.0.113.7", "2001:db8::7", "10.0.0.7", "fe80::7", "169.254.1.7");
  const found = ["203.0.113.8", "2001:db8::8", "10.0.0.8", "fe80::7", "169.254.1.7"].map(scopeOfAddress);
  expect(found).toEqual(["public", "public", "private", "link-local", "link-local"]);
});

test("lists the interfaces' addresses each time", () => {
  machineAt("203.0.113.7");
  expect(scopeOfHost("203.0.113.7")).toBe("loopback");
  machineAt("203.0.113.8");
  expect(scopeOfHost("203.0.113.7")).toBe("public");
  expect(scopeOfHost("[::ffff:cb00:7108]")).toBe("loopback");
});

test("recognizes known networks where the system lists no interfaces", () => {
  const spy = vi.spyOn(os, "networkInterfaces").mockImplementation(() => {
    throw new Error("uv_interface_addresses returned EACCES");
  });
  onTestFinished(() => spy.mockRestore());
  expect(["203.0.113.7", "10.0.0.7", "127.0.0.1"].map(scopeOfAddress)).toEqual([
    "public",
    "private",
    "loopback",
  ]);
});

test("isLoopbackHost rejects an address of an interface", () => {
  machineAt("203.0.113.7");
  expect(["203.0.113.7", "127.0.0.1", "[::1]"].map(isLoopbackHost)).toEqual([false, true, true]);
});
