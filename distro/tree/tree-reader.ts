import { boundedNearestName } from "../../lib/text/nearest-name.ts";
import type { BuildPlan, ContextFile } from "../build-plan.ts";
import type { PackageImage, StagexGenerator } from "../generator/generator.ts";
import { detectGenerator } from "../generator/known-generators.ts";
import { targetsPy } from "../generator/targets-py.ts";
import { findCycles, sortTopologically } from "../graph.ts";
import {
  type Containerfile,
  fetchingRunsOf,
  type ImageDependency,
  refusalsOf,
} from "../recipe/containerfile.ts";
import { parseContainerfile } from "../recipe/containerfile-parser.ts";
import { checkContextReads, selectContextFiles } from "../recipe/context-files.ts";
import type { PackageToml } from "../recipe/package-toml.ts";
import { runPlatformsOf } from "../recipe/run-platforms.ts";
import { resolveVersions } from "../recipe/version-from.ts";
import {
  collectProblems,
  compareProblems,
  formatCycle,
  quoted,
  TreeError,
  type TreeProblem,
} from "../tree-error.ts";
import {
  maxTextBytes,
  maxTomlBytes,
  packageFolders,
  type TreeFile,
  type TreeSource,
} from "../tree-source.ts";
import { type DigestSet, digestSetOfPath, parseDigestsFile, publishedPlatform } from "./digests-file.ts";
import { FileContents } from "./file-contents.ts";
import type { ParseCache } from "./parse-cache.ts";

/**
 * The stages of StageX whose every package is an image. In other stages a folder is an image only
 * with a Containerfile.
 */
const imageStages = new Set(["bootstrap", "core", "pallet", "user"]);

/** A package whose images are not planned yet. */
type Draft = {
  readonly folder: string;
  readonly stage: string;
  /** All files of the folder, paths relative to it. */
  readonly files: readonly TreeFile[];
  readonly toml: PackageToml;
};

/** The plans of one package, and the lines that name its dependencies. */
type Planned = { readonly plans: readonly BuildPlan[]; readonly dependencies: readonly ImageDependency[] };

/** Reads the packages of a tree and plans their images. Collects all problems on the way. */
export class TreeReader {
  readonly #files: TreeSource;
  readonly #contents: FileContents;
  readonly #platforms: readonly string[];
  readonly #generator: StagexGenerator;
  readonly #parsed: ParseCache;
  readonly #problems: TreeProblem[];
  readonly #warnings: TreeProblem[] = [];
  /** By stage, possible images of an unreadable package.toml: its folder and all quoted text. */
  readonly #mayBeMade = new Map<string, Set<string>>();

  constructor(files: TreeSource, platforms: readonly string[], parsed: ParseCache) {
    this.#files = files;
    this.#contents = new FileContents(files);
    this.#platforms = platforms;
    this.#generator = detectGenerator(files.files) ?? targetsPy;
    this.#parsed = parsed;
    this.#problems = [...files.problems];
  }

  async read() {
    const drafts = await this.#drafts();
    const owners = this.#owners(drafts);
    const versions = this.#versions(owners);
    const planned = await Promise.all(drafts.map((draft) => this.#plan(draft, versions, owners)));
    const nearest = boundedNearestName(() => owners.keys());
    for (const made of planned) this.#rejectUnknown(made, owners, nearest);
    const plans = new Map(planned.flatMap((made) => made.plans).map((plan) => [plan.name, plan]));
    const images = sortTopologically(plans);
    if (images.size < plans.size) this.#rejectCycles(plans);
    const sets = await this.#digests();
    const { "": published = new Map<string, string>(), ...further } = Object.fromEntries(sets);
    const isOfOther = (name: string) => this.#isForOther(owners.get(name));
    const digests = new Map([...published].filter(([name]) => !isOfOther(name)));
    if (this.#problems.length > 0) throw new TreeError(this.#problems.sort(compareProblems));
    return {
      root: this.#files.root,
      images,
      packages: new Map(drafts.map((draft) => [draft.folder, this.#packageOf(draft)])),
      digests,
      furtherDigests: new Map(Object.entries(further)),
      warnings: this.#warnings.sort(compareProblems),
    };
  }

  /** Checks whether StageX's line of an image is of a platform other than the tree's. */
  #isForOther(owner: Draft | undefined): boolean {
    return owner?.toml.platforms.length === 0 && this.#platforms[0] !== publishedPlatform;
  }

  async #drafts(): Promise<Draft[]> {
    const folders = packageFolders(this.#files.files);
    for (const { file } of this.#files.problems) {
      const [, stage, name] = /^packages\/([^/]+)\/([^/]+)\/package\.toml$/.exec(file) ?? [];
      if (stage !== undefined && name !== undefined) this.#mayBeMadeIn(stage).add(name);
    }
    if (folders.size === 0 && this.#problems.length === 0) {
      const isOlder = this.#files.files.some(({ path }) => /^packages\/[^/]+\/Containerfile$/.test(path));
      const found = isOlder ? "packages/<name>/Containerfile, as StageX had them until 2024" : "no package";
      const allowed = "a StageX tree: packages/<stage>/<name>/package.toml";
      this.#reject({ file: this.#files.root, found, allowed });
    }
    return (await Promise.all([...folders].map((entry) => this.#draft(...entry)))).flat();
  }

  async #draft(folder: string, files: readonly TreeFile[]): Promise<Draft[]> {
    const [, stage = "", name = ""] = folder.split("/");
    const file = `${folder}/package.toml`;
    if (!hasContainerfile(files) && !imageStages.has(stage)) return [];
    if (!/^[a-z0-9]+$/.test(stage)) {
      this.#reject({
        file: folder,
        found: quoted(stage),
        allowed: "a stage of lower-case letters and digits",
      });
    }
    if (!hasContainerfile(files) && !this.#isRejected(`${folder}/Containerfile`)) {
      this.#reject({ file: folder, found: "no Containerfile", allowed: "a Containerfile that git tracks" });
    }
    const text = await this.#text(file, maxTomlBytes);
    const isImage = imageStages.has(stage);
    const toml =
      text === undefined
        ? undefined
        : collectProblems(isImage ? this.#problems : this.#warnings, () => this.#package(file, text));
    if (toml === undefined && !isImage) return [];
    if (toml === undefined) {
      const may = this.#mayBeMadeIn(stage);
      for (const quoted of [name, ...(text?.split('"') ?? []), ...(text?.split("'") ?? [])]) may.add(quoted);
      return [];
    }
    if (toml.name !== name) {
      const allowed = `${quoted(name)}, the folder's name`;
      this.#reject({ file, field: "package.name", found: quoted(toml.name), allowed });
    }
    return [{ folder, stage, files, toml }];
  }

  #package(file: string, text: string): PackageToml {
    const { name = "", parsePackage: readPackage } = this.#generator;
    const { toml, warnings } = this.#parsed.packages.of(file, `${name}\n${text}`, () => {
      const found: TreeProblem[] = [];
      return { toml: readPackage(file, text, found), warnings: found };
    });
    this.#warnings.push(...warnings);
    return toml;
  }

  /** Returns the package that makes each image. */
  #owners(drafts: readonly Draft[]): Map<string, Draft> {
    const owners = new Map<string, Draft>();
    for (const draft of drafts) {
      for (const { name } of this.#imagesOf(draft)) {
        const other = owners.get(name);
        owners.set(name, other ?? draft);
        if (other === undefined) continue;
        const found = `the image ${name}, which ${other.folder} makes too`;
        this.#reject({ file: `${draft.folder}/package.toml`, found, allowed: "each image once" });
      }
    }
    return owners;
  }

  #versions(owners: ReadonlyMap<string, Draft>): Map<string, string | null> {
    const versioned = new Map([...owners].map(([name, { toml }]) => [name, toml]));
    return resolveVersions(versioned, (image, problem) => {
      const draft = owners.get(image);
      const first = draft === undefined ? undefined : this.#imagesOf(draft)[0]?.name;
      const unreadable = draft?.toml.versionFrom != null && this.#mayMake(draft.toml.versionFrom);
      // Subpackages share the field: one problem is enough.
      if (draft === undefined || first !== image || unreadable) return;
      this.#reject({ file: `${draft.folder}/package.toml`, ...problem });
    });
  }

  async #plan(
    draft: Draft,
    versions: ReadonlyMap<string, string | null>,
    owners: ReadonlyMap<string, Draft>,
  ): Promise<Planned> {
    const { folder, stage, toml } = draft;
    const recipe = `${folder}/Containerfile`;
    const images = this.#imagesOf(draft);
    const version = versions.get(images[0]?.name ?? "") ?? null;
    const { name: generator } = this.#generator;
    const buildArgs = this.#generator.buildArgsOf(toml, version);
    const containerfile = hasContainerfile(draft.files)
      ? await this.#containerfile(recipe, buildArgs)
      : undefined;
    if (containerfile === undefined) return { plans: [], dependencies: [] };
    this.#problems.push(...checkContextReads(recipe, draft.files, containerfile));
    const shared = {
      ...(generator === undefined ? {} : { generator }),
      stage,
      origin: toml.name,
      folder,
      recipe,
      containerfile: await this.#contents.sha256(recipe),
      version: version ?? "latest",
      platforms: toml.platforms.length > 0 ? toml.platforms : this.#platforms,
      buildArgs,
      dependencies: containerfile.dependencies.map(({ name }) => name).sort(),
      sources: this.#generator.sourcesOf(toml),
    };
    for (const { target } of images) this.#rejectMissingTarget(recipe, target, containerfile);
    const filesOf = selectContextFiles(draft.files, containerfile);
    const onlyFor = (image: string) => {
      const only = owners.get(image)?.toml.platforms ?? [];
      return only.length > 0 ? only : undefined;
    };
    const plans = images
      .filter(({ target }) => hasTarget(containerfile, target))
      .map(async ({ name, target }) => {
        const context = await this.#hashed(draft, filesOf(target));
        const fetchers = new Set(fetchingRunsOf(containerfile, target).flatMap(({ commands }) => commands));
        const runs = runPlatformsOf(containerfile, target, shared.platforms, onlyFor);
        const refusals = refusalsOf(containerfile, target);
        return { ...shared, name, target, runs, context, refusals, fetchers: [...fetchers] };
      });
    return { plans: await Promise.all(plans), dependencies: containerfile.dependencies };
  }

  async #containerfile(
    recipe: string,
    args: Readonly<Record<string, string>>,
  ): Promise<Containerfile | undefined> {
    const text = await this.#text(recipe, maxTextBytes, true);
    if (text === undefined) return undefined;
    const inputs = `${JSON.stringify(args)}\n${text}`;
    return collectProblems(this.#problems, () =>
      this.#parsed.recipes.of(recipe, inputs, () => parseContainerfile(recipe, text, args)),
    );
  }

  async #hashed({ folder }: Draft, files: readonly TreeFile[]): Promise<ContextFile[]> {
    return Promise.all(
      files.map(async ({ path, mode }) => ({
        path,
        mode,
        sha256: await this.#contents.sha256(`${folder}/${path}`),
      })),
    );
  }

  async #digests(): Promise<Map<DigestSet, Map<string, string>>> {
    const sets = new Map<DigestSet, Map<string, string>>();
    for (const { path } of this.#files.files) {
      const set = digestSetOfPath(path);
      const text = set === undefined ? undefined : await this.#text(path, maxTextBytes);
      if (set === undefined || text === undefined) continue;
      const digests = sets.get(set) ?? new Map();
      sets.set(set, digests);
      const stage = collectProblems(this.#problems, () => parseDigestsFile(path, text));
      for (const [name, hex] of stage ?? []) digests.set(name, hex);
    }
    return sets;
  }

  async #text(path: string, limit: number, hashed = false): Promise<string | undefined> {
    const found = await this.#contents.readText(path, limit, hashed);
    if (typeof found === "string") return found;
    this.#problems.push(found);
    return undefined;
  }

  #rejectMissingTarget(recipe: string, target: string | null, containerfile: Containerfile): void {
    if (hasTarget(containerfile, target)) return;
    this.#reject({
      file: recipe,
      found: `no stage ${target}`,
      allowed: "a stage package-<name> for each subpackage",
    });
  }

  #rejectUnknown(
    { plans, dependencies }: Planned,
    owners: ReadonlyMap<string, Draft>,
    nearest: (name: string) => string | undefined,
  ): void {
    const file = plans[0]?.recipe ?? this.#files.root;
    for (const { name, line } of dependencies) {
      if (owners.has(name) || this.#mayMake(name)) continue;
      const meant = nearest(name);
      const hint = meant === undefined ? "" : `; the nearest is ${meant}`;
      this.#reject({ file, line, found: `stagex/${name}`, allowed: `an image of the tree${hint}` });
    }
  }

  #rejectCycles(plans: ReadonlyMap<string, BuildPlan>): void {
    for (const cycle of findCycles(plans)) {
      const file = plans.get(cycle[0] ?? "")?.recipe ?? this.#files.root;
      const allowed = "images that are not built from themselves";
      this.#reject({ file, found: formatCycle(cycle), allowed });
    }
  }

  /** Checks whether an unreadable package.toml may make this image: then it may exist. */
  #mayMake(image: string): boolean {
    const dash = image.indexOf("-");
    return this.#mayBeMade.get(image.slice(0, dash))?.has(image.slice(dash + 1)) ?? false;
  }

  #imagesOf({ stage, toml }: Pick<Draft, "stage" | "toml">): readonly PackageImage[] {
    return this.#generator.imagesOf(stage, toml);
  }

  #packageOf({ folder, stage, toml }: Draft) {
    return { folder, stage, toml, images: this.#imagesOf({ stage, toml }).map(({ name }) => name) };
  }

  #mayBeMadeIn(stage: string): Set<string> {
    const may = this.#mayBeMade.get(stage) ?? new Set();
    this.#mayBeMade.set(stage, may);
    return may;
  }

  /** Checks whether the list of files already explains this file's absence by a problem. */
  #isRejected(path: string): boolean {
    return this.#files.problems.some(({ file }) => file === path);
  }

  #reject(problem: TreeProblem): void {
    this.#problems.push(problem);
  }
}

function hasTarget({ stages }: Containerfile, target: string | null): boolean {
  return target === null || stages.some(({ name }) => name === target.toLowerCase());
}

function hasContainerfile(files: readonly TreeFile[]): boolean {
  return files.some(({ path }) => path === "Containerfile");
}
