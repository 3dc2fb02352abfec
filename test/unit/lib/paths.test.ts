import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { pathsOf, projectRoot } from "../../../lib/paths.ts";

test("projectRoot is the checkout", () => {
  expect(existsSync(join(projectRoot, "Pulumi.yaml"))).toBe(true);
  expect(pathsOf().project).toBe(projectRoot);
});

test("finds the cache in STAGEX_CACHE, else XDG_CACHE_HOME, else the home folder", () => {
  const cacheOf = (environment: NodeJS.ProcessEnv): string => pathsOf("/project", environment).cache;
  expect(cacheOf({ STAGEX_CACHE: "/big", XDG_CACHE_HOME: "/x", HOME: "/home/me" })).toBe("/big");
  expect(cacheOf({ XDG_CACHE_HOME: "/x", HOME: "/home/me" })).toBe("/x/stagex");
  expect(cacheOf({ STAGEX_CACHE: "", HOME: "/home/me" })).toBe("/home/me/.cache/stagex");
});

test("keeps a checkout's state in .stagex and out, which git ignores", () => {
  const { state, backend, store, logs, buildkit, out } = pathsOf("/project", { HOME: "/home/me" });
  for (const folder of [backend, store, logs, buildkit]) expect(folder.startsWith(`${state}/`)).toBe(true);
  expect([state, out]).toEqual(["/project/.stagex", "/project/out"]);
});

test("keeps a witness's state in STAGEX_STATE, but for the stacks", () => {
  const of = (STAGEX_STATE: string) => pathsOf("/project", { HOME: "/home/me", STAGEX_STATE });
  const { backend, state, store, ledger, buildkit, out } = of("witness");
  expect(state).toBe("/project/witness");
  for (const folder of [store, ledger, buildkit, out]) expect(folder.startsWith(`${state}/`)).toBe(true);
  expect(backend).toBe("/project/.stagex/pulumi");
  expect(of("/elsewhere").store).toBe("/elsewhere/store");
  expect(of("").out).toBe("/project/out");
});
