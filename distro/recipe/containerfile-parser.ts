import { boundedNearestName } from "../../lib/text/nearest-name.ts";
import { maxProblemsPerFile, quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import type {
  BuildStage,
  Containerfile,
  ContextRead,
  FetchingRun,
  ImageDependency,
  Refusal,
  RunPlatform,
  StageBase,
} from "./containerfile.ts";
import {
  ContainerfileSyntaxError,
  type Instruction,
  isHeredocWord,
  jsonWords,
  parseInstructions,
  shellWords,
} from "./containerfile-instructions.ts";
import { fetchersOf } from "./fetchers.ts";
import { argName, GlobalArgs, maxArgLength } from "./global-args.ts";
import { imageNamePattern } from "./package-toml-schema.ts";
import { findRefusedFlags } from "./refused-flags.ts";
import { isRemote, parseMount, pinnedImage, treeImage } from "./source-reference.ts";

const keywords = new Set(
  "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(
    " ",
  ),
);

/** The named context that every build gets: the folder of the package's sources. */
const sourcesContext = "fetch";

/**
 * Limits far above any recipe: the findings of a Containerfile grow with the product of its stages
 * and reads. BuildKit has no such limits.
 */
const most = { stages: 256, reads: 10_000, wildcards: 200 };

/**
 * Parses a Containerfile.
 *
 * Finds dependencies as BuildKit would. StageX's generator looks at lines instead. It takes
 * `COPY --from=` only as the first flag. It takes `FROM --platform=` only with linux/386, in
 * capitals and at the start of a line. It does not know `RUN --mount=from=`, and would take such
 * lines within a heredoc for instructions. On every release so far both find the same. Where they
 * differ, the image that BuildKit asks for counts.
 *
 * @param file the path that errors name
 * @param buildArgs the build's arguments: they can name the image of a `FROM ${ARG}`
 * @throws TreeError with every problem of the file
 */
export function parseContainerfile(
  file: string,
  text: string,
  buildArgs: Readonly<Record<string, string>> = {},
): Containerfile {
  return new ContainerfileReader(file, text, buildArgs).read();
}

/** The number of refusals that are kept of one stage. */
const refusalsOfStage = 20;

class ContainerfileReader {
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
  #globalArgs: GlobalArgs;

  constructor(file: string, text: string, buildArgs: Readonly<Record<string, string>>) {
    this.#file = file;
    this.#text = text;
    this.#buildArgs = buildArgs;
    this.#globalArgs = new GlobalArgs(buildArgs, "\\");
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
      this.#globalArgs = new GlobalArgs(this.#buildArgs, directives.get("escape")?.value ?? "\\");
      const syntax = directives.get("syntax");
      if (syntax !== undefined) {
        // Another frontend is an image from the network, which may read the file in its own way.
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
    // These values are true of `scratch`. Other bases are inspected once all stages are known.
    const platforms = ["target"];
    this.#stages.push({ name: named ? name.toLowerCase() : null, base, platforms, images: [], line });
  }

  #declareArgs({ line, rest }: Instruction): void {
    const words = shellWords(rest);
    for (const word of words) this.#args.add(argName(word));
    if (this.#stages.length > 0) return;
    for (const length of this.#globalArgs.declare(words))
      this.#reject(line, "ARG", `a value of ${length} characters`, `at most ${maxArgLength}`);
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
    const base = this.#globalArgs.expand(stage.base);
    this.#bases[index] = this.#baseOf(base, index);
    if (base === undefined) this.#inspectUnknownBase(stage);
    else if (base !== "scratch") this.#refer(base, this.#stages.slice(0, index), "FROM", line);
    const below = [...(this.#uses[index] ?? [])].flatMap((used) => this.#stages[used] ?? []);
    const asked = flags.find(({ name }) => name === "platform")?.value;
    const image = treeImage(base ?? "");
    this.#stages[index] = {
      ...stage,
      // A stage is for the platform of its base; `scratch` is for the target (dockerfile2llb: init
      // and resolveReachableStages).
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
    return this.#globalArgs.expand(asked)?.toLowerCase() || "target";
  }

  /** Returns the base of a stage. Of several earlier stages with one name, the last counts. */
  #baseOf(base: string | undefined, index: number): StageBase {
    if (base === undefined || base === "scratch") return null;
    const earlier = this.#stages.slice(0, index).findLastIndex(({ name }) => name === base.toLowerCase());
    return earlier === -1 ? (treeImage(base) ?? null) : earlier;
  }

  /** Lets a variable of the build, such as TARGETARCH, choose between stages, not images. */
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
      const { from, source, mayBindContext } = parseMount(value);
      if (from !== "") this.#refer(from, this.#stages, "RUN --mount", line);
      else if (mayBindContext) this.#read({ path: source, wildcards: false, keyword: "RUN --mount", line });
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

  /** Records that the current stage uses this one. */
  #use(stage: number): void {
    this.#uses.at(-1)?.add(stage);
  }

  /** Records that the current stage uses this stage or image. */
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

  #refuse(line: number, field: string, found: string, allowed: string): void {
    const stage = this.#uses.length - 1;
    // A few refusals are enough for each stage. Those of one stage must not crowd out another's.
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

function unique<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}
