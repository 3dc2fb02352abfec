import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Writes a tree of any number of images in the shape of StageX's. Every image depends on a few of
 * its predecessors, nearly all on one low image. Each has one source. The same number gives the
 * same tree.
 */
export async function writeSyntheticTree(root: string, images: number): Promise<void> {
  for (let number = 0; number < images; number++) {
    const folder = join(root, "packages/core", `p${number}`);
    await mkdir(folder, { recursive: true });
    const dependencies = new Set(number === 0 ? [] : [0, number >> 1, number - 1, (number * 7) % number]);
    const copies = [...dependencies]
      .map((dependency) => `COPY --from=stagex/core-p${dependency} . /\n`)
      .join("");
    await writeFile(
      join(folder, "Containerfile"),
      `FROM scratch AS build\nARG VERSION\n${copies}ADD fetch/p${number}-\${VERSION}.tar .\n` +
        `RUN --network=none <<-EOF\n\tset -eux\n\tmake install\nEOF\nFROM scratch AS package\nCOPY --from=build /rootfs /\n`,
    );
    const hash = number.toString(16).padStart(64, "0");
    await writeFile(
      join(folder, "package.toml"),
      `[package]\nname = "p${number}"\nversion = "1.${number}.0"\ndescription = "Number ${number}"\nlicense = "MIT"\n\n` +
        `[sources.p${number}]\nhash = "${hash}"\nformat = "tar"\nfile = "p${number}-{version}.{format}"\n` +
        `mirrors = ["https://mirror.example/{file}"]\n`,
    );
  }
  execFileSync("git", ["-C", root, "init", "--quiet"]);
  execFileSync("git", ["-C", root, "add", "--all"]);
}
