import { expect, test } from "vitest";
import {
  ImageNameError,
  resolveImageName,
  resolveImageNames,
  selectImages,
} from "../../../distro/image-names.ts";

const images = new Map(
  Object.entries({
    "core-musl": [],
    "core-llvm": ["core-musl"],
    "core-rust": ["core-llvm"],
    "pallet-rust": ["core-rust"],
    "user-jq": ["core-musl"],
  }).map(([name, dependencies]) => [name, { name, dependencies }]),
);

const chosen = (...patterns: string[]) => selectImages(images, patterns).map(({ name }) => name);

test("resolves a short name to the only image that has it", () => {
  expect(resolveImageNames(images, ["llvm", "jq"])).toEqual(["core-llvm", "user-jq"]);
  expect(resolveImageName(images, "llvm")).toBe("core-llvm");
  expect(resolveImageName(images, "core-llvm")).toBe("core-llvm");
});

test("rejects an ambiguous short name with its images, beside all other wrong names", () => {
  expect(() => resolveImageNames(images, ["rust", "lvm", "z*", "!muls"])).toThrow(
    new ImageNameError(
      [
        '"rust" may mean core-rust, pallet-rust: give the whole name',
        'no image "lvm"; the nearest is core-llvm',
        'no image "z*"',
        'no image "muls"; the nearest is core-musl',
      ].join("\n"),
    ),
  );
  expect(() => resolveImageName(images, "core-*")).toThrow('no image "core-*"');
});

test("excludes images by an exclamation mark anywhere in the list; alone, from all images", () => {
  expect(resolveImageNames(images, ["!llvm", "core-*"])).toEqual(["core-musl", "core-rust"]);
  expect(resolveImageNames(images, ["!*-rust"])).toEqual(["core-musl", "core-llvm", "user-jq"]);
  expect(resolveImageNames(images, [])).toEqual([]);
});

test("excludes the dependents of an excluded image, and rejects those that are named", () => {
  expect(chosen("!llvm")).toEqual(["core-musl", "user-jq"]);
  expect(chosen("*", "!core-llvm")).toEqual(["core-musl", "user-jq"]);
  expect(chosen("core-*", "!user-jq")).toEqual(["core-musl", "core-llvm", "core-rust"]);
  expect(() => chosen("pallet-rust", "!llvm")).toThrow(
    "left out, and needed to build pallet-rust: core-llvm",
  );
});
