import { expect, test } from "vitest";
import { RouteSelector } from "../../../../buildkit/client/transfer-route.ts";

const MiB = 2 ** 20;

test("sends dependencies, and tries the registry once there are enough bytes to measure", () => {
  const route = new RouteSelector();
  expect(route.choose(1000 * MiB, 0)).toBe("store");
  route.noteTransfer("store", { bytes: 100 * MiB, seconds: 10 });
  expect(route.choose(15 * MiB, 0)).toBe("store");
  expect(route.choose(16 * MiB, 0)).toBe("registry");
  route.noteTransfer("registry", { bytes: 100 * MiB, seconds: 20 });
  expect(route.choose(1000 * MiB, 0)).toBe("store");
});

test("selects the cheaper route, however few bytes are missing", () => {
  const route = new RouteSelector();
  route.noteTransfer("store", { bytes: 100 * MiB, seconds: 10 });
  route.noteTransfer("registry", { bytes: 50 * MiB, seconds: 1 });
  expect(route.choose(1, 0)).toBe("registry");
  expect(route.secondsPerMiB("registry")).toBeCloseTo(0.02);
  expect(route.secondsPerMiB("store")).toBeCloseTo(0.1);
});

test("leaves a route that has become slower, as older transfers count for less", () => {
  const route = new RouteSelector();
  route.noteTransfer("store", { bytes: 100 * MiB, seconds: 10 });
  route.noteTransfer("registry", { bytes: 100 * MiB, seconds: 5 });
  for (let builds = 0; builds < 2; builds += 1) {
    expect(route.choose(MiB, 0)).toBe("registry");
    route.noteTransfer("registry", { bytes: 100 * MiB, seconds: 12 });
  }
  expect(route.choose(MiB, 0)).toBe("store");
});

test("ignores transfers that are too small to measure", () => {
  const route = new RouteSelector();
  route.noteTransfer("store", { bytes: MiB - 1, seconds: 100 });
  route.noteTransfer("store", { bytes: 0, seconds: 1 });
  expect(route.secondsPerMiB("store")).toBeUndefined();
});

test("pauses a registry that failed, longer each time, until it works again", () => {
  const route = new RouteSelector();
  route.noteTransfer("store", { bytes: 100 * MiB, seconds: 100 });
  const tried = (minutes: number) => route.choose(100 * MiB, minutes * 60_000);
  expect(tried(0)).toBe("registry");
  route.noteFailure(0);
  expect([tried(0.99), tried(1)]).toEqual(["store", "registry"]);
  route.noteFailure(60_000);
  expect([tried(2.99), tried(3)]).toEqual(["store", "registry"]);
  for (let times = 0; times < 20; times += 1) route.noteFailure(0);
  expect(tried(60)).toBe("registry");
  route.noteTransfer("registry", { bytes: 1, seconds: 0.1 });
  route.noteFailure(0);
  expect([tried(0.99), tried(1)]).toEqual(["store", "registry"]);
});
