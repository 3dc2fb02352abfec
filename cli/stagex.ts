import { delimiter, isAbsolute } from "node:path";
import { Command } from "commander";
import { printableBlock } from "../lib/text/printable.ts";
import { exitOnStdoutError, print, printError } from "../lib/text/terminal.ts";
import { describeFailure, exitCode } from "./output/exit-code.ts";

/** A subcommand: its file is loaded only when it is asked for, so that `stagex show` needs nothing of the engine. */
type Subcommand = {
  /** Shown by `stagex --help`. */
  readonly summary: string;
  readonly load: () => Promise<Command>;
};

const subcommands: Readonly<Record<string, Subcommand>> = {
  start: {
    summary: "the main job: set up, bring a stack up, and a table of its digests",
    load: async () => (await import("./commands/start.ts")).startCommand(),
  },
  digests: {
    summary: "the digests of a stack's images, as StageX publishes them in digests/*.txt",
    load: async () => (await import("./commands/digests.ts")).digestsCommand(),
  },
  show: {
    summary: "what a tree says of its images: stagex show core-busybox --tree DIR",
    load: async () => (await import("./commands/show.ts")).showCommand(),
  },
  plan: {
    summary: "which images a change of a tree rebuilds, and why: stagex plan --tree DIR --since 2026.01.0",
    load: async () => (await import("./commands/plan.ts")).planCommand(),
  },
  why: {
    summary: "one image's story: stagex why core-busybox --tree DIR --since 2026.01.0",
    load: async () => (await import("./commands/why.ts")).whyCommand(),
  },
  fetch: {
    summary: "gets the sources of a tree ahead of time: stagex fetch --tree DIR --dry-run",
    load: async () => (await import("./commands/fetch.ts")).fetchCommand(),
  },
  ledger: {
    summary: "what was built from what, and who says so: stagex ledger import --tree DIR --release 2026.03.0",
    load: async () => (await import("./commands/ledger.ts")).ledgerCommand(),
  },
  verify: {
    summary:
      "whether images are what enough maintainers have signed: stagex verify NAME:TAG, or --release TAG",
    load: async () => (await import("./commands/verify.ts")).verifyCommand(),
  },
  sign: {
    summary: "attests with a key that is on another machine: stagex sign export --out kit.tar",
    load: async () => (await import("./commands/sign.ts")).signCommand(),
  },
  policy: {
    summary: "lets podman, skopeo, buildah and CRI-O ask for the quorum of maintainers",
    load: async () => (await import("./commands/policy.ts")).policyCommand(),
  },
  registry: {
    summary: "serves what npm start published, on loopback until Ctrl-C",
    load: async () => (await import("./commands/registry.ts")).registryCommand(),
  },
  provenance: {
    summary: "how an image was built, as SLSA provenance: stagex provenance core-busybox --tree DIR",
    load: async () => (await import("./commands/provenance.ts")).provenanceCommand(),
  },
  sbom: {
    summary: "what an image is made of, as an SPDX document: stagex sbom core-busybox --tree DIR",
    load: async () => (await import("./commands/sbom.ts")).sbomCommand(),
  },
  doctor: {
    summary: "what this machine has, against what the work needs",
    load: async () => (await import("./commands/doctor.ts")).doctorCommand(),
  },
  pulumi: {
    summary: "the engine on this project's stacks: stagex pulumi preview --diff",
    load: async () => (await import("./commands/pulumi.ts")).pulumiCommand(),
  },
  env: {
    summary: 'shell exports for a plain pulumi: eval "$(npm run -s stagex env)"',
    load: async () => (await import("./commands/env.ts")).envCommand(),
  },
  test: {
    summary: "every check and test; what follows goes to vitest alone",
    load: async () => (await import("./commands/test.ts")).testCommand(),
  },
};

/** Runs one command line, without the program's own name; the promise ends when the command has. */
async function runStagex(args: readonly string[]): Promise<void> {
  const program = new Command("stagex")
    .description("StageX's packages as infrastructure as code: built, verified and released from one graph")
    .enablePositionalOptions();
  const asked = subcommands[args[0] ?? ""];
  for (const [name, { summary, load }] of Object.entries(subcommands)) {
    const command = subcommands[name] === asked ? await load() : new Command(name);
    program.addCommand(command.summary(summary));
  }
  endsThroughUs(program);
  printsThroughUs(program);
  if (args.length === 0) program.help();
  await program.parseAsync([...args], { from: "user" });
}

/** A command line that is wrong is an error here, at whatever depth: Commander itself would exit with 1, which is an answer. */
function endsThroughUs(command: Command): void {
  command.exitOverride();
  for (const subcommand of command.commands) endsThroughUs(subcommand);
}

/** Help and complaints of Commander, which quotes arguments: those may be names of files that others gave. */
function printsThroughUs(command: Command): void {
  const block = (text: string) => printableBlock(text.replace(/\n$/, ""));
  command.configureOutput({
    writeOut: (text) => print(block(text)),
    writeErr: (text) => printError(block(text)),
  });
  for (const subcommand of command.commands) printsThroughUs(subcommand);
}

// A relative entry, such as ".", would have programs looked up in whatever tree this is called in.
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
