import { delimiter, isAbsolute } from "node:path";
import { Command } from "commander";
import { printableBlock } from "../lib/text/printable.ts";
import { exitOnStdoutError, print, printError } from "../lib/text/terminal.ts";
import { describeFailure, exitCode } from "./output/exit-code.ts";

/**
 * A subcommand, whose file is loaded only when it is called, so that `stagex show` loads nothing of
 * the engine.
 */
type Subcommand = {
  /** Shown by `stagex --help`. */
  readonly summary: string;
  readonly load: () => Promise<Command>;
};

const subcommands: Readonly<Record<string, Subcommand>> = {
  start: {
    summary: "sets up what is missing, brings a stack up, and prints a table of its digests",
    load: async () => (await import("./commands/start.ts")).startCommand(),
  },
  digests: {
    summary: "prints the digests of a stack's images, as StageX publishes them in digests/*.txt",
    load: async () => (await import("./commands/digests.ts")).digestsCommand(),
  },
  show: {
    summary: "prints what a tree says about its images: stagex show core-busybox --tree DIR",
    load: async () => (await import("./commands/show.ts")).showCommand(),
  },
  plan: {
    summary:
      "prints which images a change of a tree rebuilds, and why: stagex plan --tree DIR --since 2026.01.0",
    load: async () => (await import("./commands/plan.ts")).planCommand(),
  },
  why: {
    summary: "explains one image in that plan: stagex why core-busybox --tree DIR --since 2026.01.0",
    load: async () => (await import("./commands/why.ts")).whyCommand(),
  },
  fetch: {
    summary: "fetches the sources of a tree ahead of time: stagex fetch --tree DIR --dry-run",
    load: async () => (await import("./commands/fetch.ts")).fetchCommand(),
  },
  ledger: {
    summary:
      "shows, imports and checks the records of builds: stagex ledger import --tree DIR --release 2026.03.0",
    load: async () => (await import("./commands/ledger.ts")).ledgerCommand(),
  },
  verify: {
    summary: "verifies that enough maintainers have signed images: stagex verify NAME:TAG, or --release TAG",
    load: async () => (await import("./commands/verify.ts")).verifyCommand(),
  },
  sign: {
    summary: "attests with a key on another machine: stagex sign export --out kit.tar",
    load: async () => (await import("./commands/sign.ts")).signCommand(),
  },
  policy: {
    summary: "writes policies by which podman, skopeo, buildah and CRI-O require the quorum",
    load: async () => (await import("./commands/policy.ts")).policyCommand(),
  },
  registry: {
    summary: "serves what npm start has published, on loopback until Ctrl-C",
    load: async () => (await import("./commands/registry.ts")).registryCommand(),
  },
  provenance: {
    summary: "prints how an image was built, as SLSA provenance: stagex provenance core-busybox --tree DIR",
    load: async () => (await import("./commands/provenance.ts")).provenanceCommand(),
  },
  sbom: {
    summary: "prints what an image is made of, as an SPDX document: stagex sbom core-busybox --tree DIR",
    load: async () => (await import("./commands/sbom.ts")).sbomCommand(),
  },
  doctor: {
    summary: "compares this machine with what the work needs",
    load: async () => (await import("./commands/doctor.ts")).doctorCommand(),
  },
  pulumi: {
    summary: "runs the engine on this project's stacks: stagex pulumi preview --diff",
    load: async () => (await import("./commands/pulumi.ts")).pulumiCommand(),
  },
  env: {
    summary: 'prints shell exports for a plain pulumi: eval "$(npm run -s stagex env)"',
    load: async () => (await import("./commands/env.ts")).envCommand(),
  },
  test: {
    summary: "runs every check and test; with arguments, vitest alone",
    load: async () => (await import("./commands/test.ts")).testCommand(),
  },
};

/** Runs one command line, without the program's own name. Resolves when the command has ended. */
async function runStagex(args: readonly string[]): Promise<void> {
  const program = new Command("stagex")
    .description("StageX's packages as infrastructure as code: built, verified and released from one graph")
    .enablePositionalOptions();
  const called = subcommands[args[0] ?? ""];
  for (const [name, { summary, load }] of Object.entries(subcommands)) {
    const command = subcommands[name] === called ? await load() : new Command(name);
    program.addCommand(command.summary(summary));
  }
  throwInsteadOfExit(program);
  printEscaped(program);
  if (args.length === 0) program.help();
  await program.parseAsync([...args], { from: "user" });
}

/**
 * Makes Commander throw for a wrong command line, at any depth: it would exit with 1, which means
 * "no" here.
 */
function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  for (const subcommand of command.commands) throwInsteadOfExit(subcommand);
}

/** Escapes what Commander prints: it quotes arguments, which may be names of files of others. */
function printEscaped(command: Command): void {
  const block = (text: string) => printableBlock(text.replace(/\n$/, ""));
  command.configureOutput({
    writeOut: (text) => print(block(text)),
    writeErr: (text) => printError(block(text)),
  });
  for (const subcommand of command.commands) printEscaped(subcommand);
}

// Through a relative entry, such as ".", programs would be looked up in the tree that this is
// called in.
process.env.PATH = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((folder) => isAbsolute(folder))
  .join(delimiter);

exitOnStdoutError(exitCode.output);

try {
  await runStagex(process.argv.slice(2));
} catch (error) {
  const { message, code } = describeFailure(error);
  if (message.length > 0) printError(message);
  process.exitCode = code;
}
