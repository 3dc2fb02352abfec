import { expect, test } from "vitest";
import { findFetchers } from "../../../../distro/recipe/fetchers.ts";

test.each([
  ["cargo fetch", ["cargo fetch"]],
  ['GOPATH="/x" go mod download && npm ci', ["go mod download", "npm ci"]],
  ["set -eux\nphp /boot/bin/composer install --no-dev", ["composer install"]],
  ["go -C tools mod vendor -modfile=vendor.mod", ["go mod vendor"]],
  ["cargo +nightly --locked fetch", ["cargo fetch"]],
  ["(cd x;go get ./...)", ["go get"]],
])("finds the fetchers in %j", (text, found) => {
  expect(findFetchers(text)).toEqual(found);
});

test.each([
  "# go mod download",
  "  # cargo fetch\nmake",
  "cargo build --frozen",
  "go build -o get .",
  "ago get",
  "gofetch; go version; mod download",
])("finds none in %j", (text) => {
  expect(findFetchers(text)).toEqual([]);
});

test("finds the further fetchers that are given", () => {
  expect(findFetchers("make -j 4 deps", ["make deps"])).toEqual(["make deps"]);
});

test("takes time linear in the text", () => {
  const started = performance.now();
  findFetchers("go -x ".repeat(20_000));
  expect(performance.now() - started).toBeLessThan(5_000);
});
