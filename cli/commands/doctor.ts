import { Command } from "commander";
import { type Printable, printable, printableJson, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { findDocker } from "../../tools/docker.ts";
import { checkBuilder } from "../doctor/builder.ts";
import type { Check, Section } from "../doctor/check.ts";
import { checkMachine } from "../doctor/machine.ts";
import { checkTools } from "../doctor/tools.ts";
import { checkTrees } from "../doctor/tree.ts";
import { checkUpstreamPrograms } from "../doctor/upstream.ts";
import { exitCode } from "../output/exit-code.ts";

/** The doctor's findings. */
type Diagnosis = {
  /** The main job can run. */
  readonly ok: boolean;
  readonly sections: readonly Section[];
};

/** Checks this machine, and changes, builds and starts nothing. */
async function diagnose(environment: NodeJS.ProcessEnv = process.env): Promise<Diagnosis> {
  const docker = await findDocker(environment);
  const sections = await Promise.all([
    checkTools(environment),
    checkBuilder(environment, docker),
    checkMachine(environment),
    checkTrees(),
    checkUpstreamPrograms(environment, docker),
  ]);
  const checks = sections.flatMap((section) => section.checks);
  return { ok: checks.every(({ verdict }) => verdict !== "falls short"), sections };
}

const marks: Readonly<Record<Check["verdict"], string>> = {
  ok: "ok",
  "falls short": "FALLS SHORT",
  lacks: "lacks",
};

/** Formats the diagnosis for people: a line for each check, with the fix below it. */
function renderDiagnosis({ ok, sections }: Diagnosis): Printable {
  const width = Math.max(...sections.flatMap(({ checks }) => checks.map(({ name }) => name.length)));
  const line = ({ name, found, minimum, verdict, mend }: Check): Printable[] => {
    const wanted = verdict === "ok" || minimum === null ? "" : ` (at least ${minimum})`;
    const first = printable`  ${name.padEnd(width)}  ${marks[verdict].padEnd(5)}  ${found}${wanted}`;
    return mend === null ? [first] : [first, printable`  ${"".padEnd(width)}         to fix it: ${mend}`];
  };
  const parts = sections.flatMap(({ title, checks }) => [
    printable`${title}`,
    ...checks.flatMap(line),
    printable``,
  ]);
  const end = ok
    ? printable`The main job can run: npm start`
    : printable`The main job can't run before what FALLS SHORT is fixed.`;
  return printableLines([...parts, end]);
}

/** `stagex doctor [--json]`. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description(
      "Compares this machine with what the work needs, and prints a fix for each thing that falls short.\n" +
        "Exits with 0 if the main job (npm start) can run, else with 1.",
    )
    .option(
      "--json",
      "prints JSON: {ok, sections: [{title, checks: [{name, found, minimum, verdict, mend}]}]}",
    )
    .action(async ({ json }: { json?: boolean }) => {
      const diagnosis = await diagnose();
      print(json ? printableJson(diagnosis) : renderDiagnosis(diagnosis));
      process.exitCode = diagnosis.ok ? exitCode.ok : exitCode.no;
    });
}
