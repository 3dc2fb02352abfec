import { boundedNearestName } from "../../lib/text/nearest-name.ts";
import { maxProblemsPerFile, quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import {
  ContainerfileSyntaxError,
  type Instruction,
  isHeredocWord,
  jsonWords,
  parseInstructions,
  shellWords,
} from "./containerfile-syntax.ts";
import { fetchersOf } from "./fetchers.ts";
import { imageNamePattern } from "./package-toml.ts";
import { findRefusedFlags } from "./refused-flags.ts";
import { expandWord, type Variable } from "./word-expansion.ts";

/** One `FROM`. */
export type BuildStage = {
  /** In lower case, as BuildKit compares it; null where it has none. */
  readonly name: string | null;
  /** What it starts from: an earlier stage, `scratch`, or an image. */
  readonly base: string;
  /** Whose programs its `RUN` instructions run: {@link RunPlatform}s, more than one only where the base depends on the target. */
  readonly platforms: readonly RunPlatform[];
  /** The images of the tree that it or the stages below it begin with. */
  readonly images: readonly string[];
  readonly line: number;
};

/**
 * A platform that a stage is for: `linux/386` where its `FROM` says so, `target` where it is what the image is built for, and `builder` for
 * whatever the builder itself is (`$BUILDPLATFORM`).
 */
export type RunPlatform = string;

/** An image of the tree that the Containerfile is built from, and where it says so first. */
export type ImageDependency = { readonly name: string; readonly line: number };

/** A place of the package's folder that an instruction reads. */
export type ContextRead = {
  /** As written: with wildcards (`patches/*.patch`) and variables. */
  readonly path: string;
  /** `ADD` and `COPY` have wildcards; the source of a mount has none. */
  readonly wildcards: boolean;
  /** Index of the stage that the instruction is in. */
  readonly stage: number;
  /** The whole instruction, for errors: `COPY`. */
  readonly keyword: string;
  readonly line: number;
};

/** What an instruction takes from outside of the tree. A build of its stage fails; other images of the tree do not. */
export type Refusal = {
  /** Index of the stage that the instruction is in. */
  readonly stage: number;
  readonly problem: TreeProblem;
};

/** What a stage starts from: an earlier stage by its index, or an image of the tree; null for `scratch`, and what only the build knows. */
export type StageBase = number | string | null;

/** A RUN that fetches what no source has. */
export type FetchingRun = {
  /** Index of the stage that it is in. */
  readonly stage: number;
  readonly line: number;
  /** What it runs: `go mod download`. */
  readonly commands: readonly string[];
};

/** What the rest of the project has to know of a Containerfile. */
export type Containerfile = {
  readonly stages: readonly BuildStage[];
  /** Of each stage. */
  readonly bases: readonly StageBase[];
  /** For each stage the indexes of those that it starts from, copies from or mounts, or that it may. */
  readonly uses: readonly ReadonlySet<number>[];
  /** Indexes of the stages that have a `RUN`. */
  readonly running: ReadonlySet<number>;
  /** In the order of their first mention, each once. */
  readonly dependencies: readonly ImageDependency[];
  readonly reads: readonly ContextRead[];
  /** Names that some `ARG` declares: no other build argument can change the build, but those that BuildKit itself knows. */
  readonly args: ReadonlySet<string>;
  readonly refusals: readonly Refusal[];
  readonly fetchingRuns: readonly FetchingRun[];
};

const keywords = new Set(
  "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(
    " ",
  ),
);

/** The named context that every build gets: the folder of the package's sources. */
const sourcesContext = "fetch";

/**
 * Bounds of ours, far above what any recipe has: what is found of a Containerfile grows with the product of its stages and of what they
 * read. BuildKit has none of these.
 */
const most = { stages: 256, reads: 10_000, wildcards: 200, valueSize: 4096 };

/** Mounts that bring nothing of the package's folder. */
const unbound = new Set(["cache", "tmpfs", "secret", "ssh"]);

/** What BuildKit sets by itself, for every FROM (frontend/dockerfile/dockerfile2llb, defaultArgs). */
const automaticArg = /^(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)$|^TARGETSTAGE$/;

/** A word of an ARG that is read alike by whoever reads it: a name, and a value with no escape and at most one pair of quotes around it. */
const plainArg = /^[A-Za-z_]\w*(?:=(?:[^\s"'\\`]*|"[^"'\\`]*"|'[^"'\\`]*'))?$/;

/** Build arguments that every build gets, so that a recipe's own values for them don't count. */
const builtInArg = /^(?:SOURCE_DATE_EPOCH|BUILDKIT_.*)$/;

/** An image that is named by its content, wherever it comes from: `debian@sha256:…`. */
const pinnedImage = /@sha256:[0-9a-f]{64}$/;

/**
 * Parses a Containerfile.
 *
 * Dependencies are found as BuildKit would find them. StageX's generator looks at lines instead: it takes `COPY --from=`
 * only as the first flag, `FROM --platform=` only with linux/386, in capitals and at the start of a line, knows no
 * `RUN --mount=from=`, and would take such lines within a heredoc for instructions. On every release so far both find
 * the same; where they differ, it is the image that BuildKit asks for that counts.
 *
 * @param file the path that errors name
 * @param buildArgs those given to the build: they can name the image of a `FROM ${ARG}`
 * @throws TreeError with every problem of the file
 */
export function parseContainerfile(
  file: string,
  text: string,
  buildArgs: Readonly<Record<string, string>> = {},
): Containerfile {
  return new Reader(file, text, buildArgs).read();
}

/**
 * What a build of this target reads.
 * @param target a stage's name; null for the last one
 */
export function contextReadsOf(containerfile: Containerfile, target: string | null): ContextRead[] {
  const run = reachableStages(containerfile, target);
  return containerfile.reads.filter(({ stage }) => run.has(stage));
}

/** Why a build of this target fails whatever it is given. */
export function refusalsOf(containerfile: Containerfile, target: string | null): TreeProblem[] {
  if (containerfile.refusals.length === 0) return [];
  const run = reachableStages(containerfile, target);
  return containerfile.refusals.flatMap(({ stage, problem }) => (run.has(stage) ? [problem] : []));
}

/** The RUNs of a build of this target that fetch. */
export function fetchingRunsOf(containerfile: Containerfile, target: string | null): FetchingRun[] {
  if (containerfile.fetchingRuns.length === 0) return [];
  const run = reachableStages(containerfile, target);
  return containerfile.fetchingRuns.filter(({ stage }) => run.has(stage));
}

/**
 * BuildKit runs the stages that the target is made of, directly or not, and no other (frontend/dockerfile/dockerfile2llb,
 * allReachableStages).
 */
export function reachableStages({ stages, uses }: Containerfile, target: string | null): Set<number> {
  const name = target?.toLowerCase();
  const targets = stages.flatMap((stage, index) => (stage.name === name ? [index] : []));
  const run = new Set<number>();
  const open = target === null ? [stages.length - 1] : targets;
  for (let stage = open.pop(); stage !== undefined; stage = open.pop()) {
    if (run.has(stage)) continue;
    run.add(stage);
    open.push(...(uses[stage] ?? []));
  }
  return run;
}

/** How many refusals are kept of one stage. */
const refusalsOfStage = 20;

class Reader {
  readonly #file: string;
  readonly #text: string;
  readonly #buildArgs: Readonly<Record<string, string>>;
  readonly #problems: TreeProblem[] = [];
  readonly #stages: BuildStage[] = [];
  readonly #meant = boundedNearestName(() => keywords);
  readonly #meantStage = boundedNearestName(() => this.#stages.flatMap((stage) => stage.name ?? []));
  #wildcards = 0;
  readonly #uses: Set<number>[] = [];
  readonly #running = new Set<number>();
  readonly #dependencies = new Map<string, ImageDependency>();
  readonly #reads: ContextRead[] = [];
  readonly #args = new Set<string>();
  readonly #refusals: Refusal[] = [];
  readonly #bases: StageBase[] = [];
  readonly #fetches: FetchingRun[] = [];
  #escape = "\\";
  #oddArgs = false;
  /** ARGs before the first FROM, the only ones that a FROM can use; undefined where only the build knows the value. */
  readonly #globalArgs = new Map<string, string | undefined>();

  constructor(file: string, text: string, buildArgs: Readonly<Record<string, string>>) {
    this.#file = file;
    this.#text = text;
    this.#buildArgs = buildArgs;
  }

  read(): Containerfile {
    const instructions = this.#instructions();
    // A COPY may name a later stage, so all stages are read first.
    for (const instruction of instructions) this.#declare(instruction);
    if (this.#stages.length > most.stages) {
      const allowed = `at most ${most.stages} stages`;
      this.#reject(this.#stages[most.stages]?.line ?? 1, "FROM", `${this.#stages.length} stages`, allowed);
      throw new TreeError(this.#problems);
    }
    for (const instruction of instructions) this.#inspect(instruction);
    if (this.#stages.length === 0) this.#reject(1, "FROM", "no FROM", "at least one stage");
    if (this.#problems.length > 0) throw new TreeError(this.#problems);
    return {
      stages: this.#stages,
      bases: this.#bases,
      uses: this.#uses,
      running: this.#running,
      dependencies: [...this.#dependencies.values()],
      reads: this.#reads,
      args: this.#args,
      refusals: this.#refusals,
      fetchingRuns: this.#fetches,
    };
  }

  #instructions(): readonly Instruction[] {
    try {
      const { instructions, directives } = parseInstructions(this.#text);
      this.#escape = directives.get("escape")?.value ?? "\\";
      const syntax = directives.get("syntax");
      if (syntax !== undefined) {
        // Another frontend is an image from the network that may read the file in a way of its own.
        this.#reject(syntax.line, "syntax", quoted(syntax.value), "BuildKit's own frontend: no such line");
      }
      return instructions;
    } catch (error) {
      if (!(error instanceof ContainerfileSyntaxError)) throw error;
      this.#reject(error.line, undefined, error.message, error.allowed);
      return [];
    }
  }

  #declare(instruction: Instruction): void {
    const { keyword, line, rest } = instruction;
    if (keyword === "FROM") this.#declareStage(instruction);
    else if (keyword === "ARG") this.#declareArgs(instruction);
    else if (keyword === "ONBUILD") {
      this.#reject(
        line,
        keyword,
        quoted(rest),
        "no ONBUILD: it would run in images whose plan cannot know of it",
      );
    } else if (!keywords.has(keyword)) {
      const meant = this.#meant(keyword);
      this.#reject(
        line,
        undefined,
        quoted(keyword),
        meant === undefined ? "an instruction" : `${meant} (is it meant?)`,
      );
    }
    if (this.#stages.length === 0 && keyword !== "ARG" && keywords.has(keyword)) {
      this.#reject(line, keyword, "it before any FROM", "only ARG before the first FROM");
    }
  }

  #declareStage({ line, rest }: Instruction): void {
    const [base = "", as, name, ...more] = rest.split(blanks);
    const named = as?.toUpperCase() === "AS" && name !== undefined && /^[a-z][a-z0-9-_.]*$/i.test(name);
    if (base === "" || more.length > 0 || (as !== undefined && !named)) {
      this.#reject(line, "FROM", quoted(rest), "FROM <image> or FROM <image> AS <stage>");
    }
    // What is so of `scratch`; the others are looked at once all are known.
    const platforms = ["target"];
    this.#stages.push({ name: named ? name.toLowerCase() : null, base, platforms, images: [], line });
  }

  /** Where the words of a line before the first FROM are not plain, BuildKit may cut it otherwise: then no variable of a FROM is known. */
  #declareArgs({ line, rest }: Instruction): void {
    const words = shellWords(rest);
    if (this.#stages.length === 0 && !words.every((word) => plainArg.test(word))) this.#oddArgs = true;
    for (const word of words) {
      const equals = word.indexOf("=");
      const name = equals === -1 ? word : word.slice(0, equals);
      this.#args.add(name);
      if (this.#stages.length > 0) continue;
      if (builtInArg.test(name)) {
        this.#globalArgs.set(name, undefined);
        continue;
      }
      const value =
        this.#buildArg(name) ?? (equals === -1 ? undefined : this.#expanded(word.slice(equals + 1)));
      if (value !== undefined && value.length > most.valueSize) {
        // Each ARG may name the one before twice: they double.
        this.#reject(line, "ARG", `a value of ${value.length} characters`, `at most ${most.valueSize}`);
        this.#globalArgs.set(name, undefined);
      } else if (equals !== -1 || value !== undefined) this.#globalArgs.set(name, value);
    }
  }

  #inspect(instruction: Instruction): void {
    if (instruction.keyword === "FROM") this.#inspectBase(instruction);
    if (instruction.keyword === "COPY" || instruction.keyword === "ADD") this.#inspectCopy(instruction);
    if (instruction.keyword === "RUN") {
      this.#running.add(this.#uses.length - 1);
      this.#inspectRun(instruction);
    }
    for (const { flag, found, allowed } of findRefusedFlags(instruction))
      this.#refuse(instruction.line, flag, found, allowed);
  }

  #inspectBase({ line, flags }: Instruction): void {
    const index = this.#uses.push(new Set()) - 1;
    const stage = this.#stages[index];
    this.#bases.push(null);
    if (stage === undefined || stage.base === "" || stage.base === "scratch") return;
    const base = this.#expanded(stage.base);
    this.#bases[index] = this.#baseOf(base, index);
    if (base === undefined) this.#inspectUnknownBase(stage);
    else if (base !== "scratch") this.#refer(base, this.#stages.slice(0, index), "FROM", line);
    const below = [...(this.#uses[index] ?? [])].flatMap((used) => this.#stages[used] ?? []);
    const asked = flags.find(({ name }) => name === "platform")?.value;
    const image = treeImage(base ?? "");
    this.#stages[index] = {
      ...stage,
      // A stage is for what its base is for; `scratch` is for the target (dockerfile2llb: init and resolveReachableStages).
      platforms: unique(
        below.length > 0
          ? below.flatMap(({ platforms }) => platforms)
          : [base === "scratch" || asked === undefined ? "target" : this.#runPlatform(asked)],
      ),
      images: unique([...below.flatMap(({ images }) => images), ...(image ? [image] : [])]),
    };
  }

  #runPlatform(asked: string): RunPlatform {
    if (/^\$(?:\{BUILDPLATFORM\}|BUILDPLATFORM)$/.test(asked)) return "builder";
    return this.#expanded(asked)?.toLowerCase() || "target";
  }

  /** Of several earlier stages of a name the last counts. */
  #baseOf(base: string | undefined, index: number): StageBase {
    if (base === undefined || base === "scratch") return null;
    const earlier = this.#stages.slice(0, index).findLastIndex(({ name }) => name === base.toLowerCase());
    return earlier === -1 ? (treeImage(base) ?? null) : earlier;
  }

  /** A variable that only the build knows, such as TARGETARCH, may choose between stages but not between images. */
  #inspectUnknownBase({ base, line }: BuildStage): void {
    const start = base.slice(0, base.indexOf("$"));
    const isStage = start !== "" && this.#stages.some(({ name }) => name?.startsWith(start.toLowerCase()));
    if (!isStage) this.#reject(line, "FROM", quoted(base), "an image that can be told before the build");
    for (let earlier = 0; earlier < this.#uses.length - 1; earlier++) this.#use(earlier);
  }

  #inspectCopy({ keyword, line, flags, rest }: Instruction): void {
    const from = flags.find(({ name }) => name === "from")?.value ?? "";
    if (from !== "") {
      this.#refer(from, this.#stages, keyword, line);
      return;
    }
    const words = jsonWords(rest) ?? rest.split(blanks);
    const quirks = flags.some(({ name }) => name === "parents") ? "/**" : "";
    for (const path of words.slice(0, -1)) {
      if (isHeredocWord(path)) continue;
      if (keyword === "ADD" && isRemote(path)) {
        this.#refuse(
          line,
          keyword,
          quoted(path),
          "fetch/<file>, a source in package.toml: no build has a network",
        );
        continue;
      }
      this.#read({ path: `${path}${quirks}`, wildcards: true, keyword, line });
    }
  }

  #inspectRun(instruction: Instruction): void {
    this.#inspectMounts(instruction);
    const commands = fetchersOf(instruction);
    const { line } = instruction;
    if (commands.length > 0) this.#fetches.push({ stage: this.#uses.length - 1, line, commands });
  }

  #inspectMounts({ line, flags }: Instruction): void {
    for (const { name, value } of flags) {
      if (name !== "mount") continue;
      const fields = new Map(value.split(",").map((field) => fieldOf(field)));
      const type = fields.get("type")?.toLowerCase() ?? "bind";
      const from = fields.get("from") ?? "";
      const source = fields.get("source") ?? fields.get("src") ?? "/";
      if (from !== "") this.#refer(from, this.#stages, "RUN --mount", line);
      // Everything else, such as `type=$T`, may be one that binds.
      else if (!unbound.has(type)) {
        this.#read({ path: source, wildcards: false, keyword: "RUN --mount", line });
      }
    }
  }

  #read(read: Omit<ContextRead, "stage">): void {
    if (read.wildcards && /[*?]/.test(read.path)) this.#wildcards++;
    if (this.#reads.length >= most.reads || this.#wildcards > most.wildcards) {
      const allowed = `at most ${most.reads} paths, ${most.wildcards} of them with wildcards`;
      this.#reject(read.line, read.keyword, "more paths than that", allowed);
      throw new TreeError(this.#problems);
    }
    this.#reads.push({ ...read, stage: this.#uses.length - 1 });
  }

  /** The stage that is looked at takes something from this one. */
  #use(stage: number): void {
    this.#uses.at(-1)?.add(stage);
  }

  /** Something is taken from this stage or image. */
  #refer(reference: string, stages: readonly BuildStage[], keyword: string, line: number): void {
    const name = reference.toLowerCase();
    let isStage = false;
    for (let index = 0; index < stages.length; index++) {
      if (stages[index]?.name !== name) continue;
      this.#use(index);
      isStage = true;
    }
    if (name === sourcesContext || isStage) return;
    if (/^\d+$/.test(name) && Number(name) < this.#stages.length) {
      this.#use(Number(name));
      return;
    }
    const image = treeImage(reference);
    if (image !== undefined) this.#depend(image, keyword, line);
    else if (pinnedImage.test(reference))
      this.#refuse(line, keyword, quoted(reference), "stagex/<image>: no build takes images from elsewhere");
    else {
      const meant = this.#meantStage(name);
      const hint = meant === undefined ? "" : ` (is the stage ${meant} meant?)`;
      this.#reject(line, keyword, quoted(reference), `a stage or stagex/<image>${hint}`);
    }
  }

  #depend(image: string, keyword: string, line: number): void {
    if (!imageNamePattern.test(image)) {
      const allowed = "stagex/<stage>-<package>, without tag or digest: it is built from the tree";
      this.#reject(line, keyword, quoted(`stagex/${image}`), allowed);
    } else if (!this.#dependencies.has(image)) this.#dependencies.set(image, { name: image, line });
  }

  /** The word with its global ARGs, or undefined where one is not known before the build. */
  #expanded(word: string): string | undefined {
    return expandWord(word, (name) => this.#variable(name), this.#escape, most.valueSize);
  }

  #buildArg(name: string): string | undefined {
    return Object.hasOwn(this.#buildArgs, name) ? this.#buildArgs[name] : undefined;
  }

  #variable(name: string): Variable {
    if (this.#oddArgs) return "unknown";
    const value = this.#globalArgs.get(name);
    if (value !== undefined) return { value };
    return this.#globalArgs.has(name) || automaticArg.test(name) ? "unknown" : "unset";
  }

  #refuse(line: number, field: string, found: string, allowed: string): void {
    const stage = this.#uses.length - 1;
    // Of each stage some are enough to refuse it. Those of one stage must not crowd out another's.
    if (this.#refusals.length >= refusalsOfStage && this.#refusals.at(-refusalsOfStage)?.stage === stage)
      return;
    this.#refusals.push({ stage, problem: { file: this.#file, line, field, found, allowed } });
  }

  #reject(line: number, field: string | undefined, found: string, allowed: string): void {
    if (this.#problems.length >= maxProblemsPerFile) throw new TreeError(this.#problems);
    this.#problems.push({
      file: this.#file,
      line,
      ...(field === undefined ? {} : { field }),
      found,
      allowed,
    });
  }
}

/** Not \s: to BuildKit a no-break space is part of a name. */
const blanks = /[\t\v\f\r ]+/;

/** The name after `stagex/`, of an image of the tree. */
function treeImage(reference: string): string | undefined {
  return /^(?:(?:index\.)?docker\.io\/)?stagex\/(.*)$/.exec(reference)?.[1];
}

function unique<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}

/** Whether ADD fetches it instead of reading it from the context. */
function isRemote(path: string): boolean {
  return /^(?:https?|git|ssh):\/\/|^git@/.test(path);
}

/** `source=x` of a mount; its names are compared in lower case. */
function fieldOf(field: string): [string, string] {
  const plain = field.replace(/^"(.*)"$/, "$1");
  const equals = plain.indexOf("=");
  if (equals === -1) return [plain.toLowerCase(), ""];
  return [plain.slice(0, equals).toLowerCase(), plain.slice(equals + 1)];
}
