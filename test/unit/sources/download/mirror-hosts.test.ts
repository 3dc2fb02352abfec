import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { HostDownError, MirrorHosts } from "../../../../sources/download/mirror-hosts.ts";

const [one, other] = [new URL("https://a.test/x"), new URL("https://b.test/x")];
const never = new AbortController().signal;

test("gives one host three requests at once, and other hosts theirs beside it", async () => {
  const hosts = new MirrorHosts();
  let [now, most] = [0, 0];
  const request = async () => {
    now += 1;
    most = Math.max(most, now);
    await sleep(5);
    now -= 1;
  };
  await Promise.all(Array.from({ length: 12 }, () => hosts.ask(one, never, request)));
  expect(most).toBe(3);
  most = 0;
  await Promise.all([one, one, one, one, other, other, other].map((url) => hosts.ask(url, never, request)));
  expect(most).toBe(6);
});

test("skips a host that is down, also for requests that wait already", async () => {
  const hosts = new MirrorHosts();
  let asked = 0;
  const request = async () => {
    asked += 1;
    await sleep(5);
    hosts.markDown(one, "no answer");
  };
  const all = await Promise.allSettled(Array.from({ length: 9 }, () => hosts.ask(one, never, request)));
  expect(asked).toBe(3);
  const refused = all.filter(
    (result) => result.status === "rejected" && result.reason instanceof HostDownError,
  );
  expect(refused).toHaveLength(6);
  expect(await hosts.ask(other, never, async () => "there")).toBe("there");
  expect(await hosts.ask(new URL("http://a.test/x"), never, async () => "http")).toBe("http");
});

test("keeps a pause for all requests to a host, and ends it when aborted", async () => {
  const hosts = new MirrorHosts();
  hosts.pause(one, 60);
  const start = performance.now();
  await Promise.all([1, 2].map(() => hosts.ask(one, never, async () => {})));
  expect(performance.now() - start).toBeGreaterThanOrEqual(59);
  hosts.pause(one, 60_000);
  const ended = hosts.ask(one, AbortSignal.timeout(20), async () => {});
  await expect(ended).rejects.toMatchObject({ name: "TimeoutError" });
});

test("rejects requests to a host during its long pause, without waiting", async () => {
  const hosts = new MirrorHosts();
  hosts.pause(one, 3_600_000);
  await expect(hosts.ask(one, never, async () => "asked")).rejects.toThrow(
    /wants to be left alone for another 3[56]\d\d s/,
  );
  expect(await hosts.ask(other, never, async () => "asked")).toBe("asked");
});
