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

test("a short name means the one image that has it", () => {
  expect(resolveImageNames(images, ["llvm", "jq"])).toEqual(["core-llvm", "user-jq"]);
  expect(resolveImageName(images, "llvm")).toBe("core-llvm");
  expect(resolveImageName(images, "core-llvm")).toBe("core-llvm");
});

test("a short name of several images is an error that names them, beside all other wrong names", () => {
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

test("an exclamation mark leaves out, wherever it stands; alone, of all images", () => {
  expect(resolveImageNames(images, ["!llvm", "core-*"])).toEqual(["core-musl", "core-rust"]);
  expect(resolveImageNames(images, ["!*-rust"])).toEqual(["core-musl", "core-llvm", "user-jq"]);
  expect(resolveImageNames(images, [])).toEqual([]);
});

test("what is built from an image that is left out is left out too, unless it is named", () => {
  expect(chosen("!llvm")).toEqual(["core-musl", "user-jq"]);
  expect(chosen("*", "!core-llvm")).toEqual(["core-musl", "user-jq"]);
  expect(chosen("core-*", "!user-jq")).toEqual(["core-musl", "core-llvm", "core-rust"]);
  expect(() => chosen("pallet-rust", "!llvm")).toThrow(
    "left out, and needed to build pallet-rust: core-llvm",
  );
});
