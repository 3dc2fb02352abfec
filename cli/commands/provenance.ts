import { Command } from "commander";
import { findFolderCommit } from "../../pipeline/statements/build-evidence.ts";
import { provenanceStatement } from "../../pipeline/statements/image-statement.ts";
import {
  addEvidenceOptions,
  chooseRecord,
  type EvidenceOptions,
  gatherEvidence,
} from "../statements/evidence-options.ts";
import { addStatementOptions, printAndSign, type StatementOptions } from "../statements/sign-and-attach.ts";

type Options = EvidenceOptions & StatementOptions & { builder?: string };

/** `stagex provenance`: prints how an image was built, as SLSA provenance. */
export function provenanceCommand(): Command {
  const command = new Command("provenance").description(
    "Prints how an image was built: an in-toto statement with SLSA provenance v1. --sign signs it as the image itself is signed; " +
      "--attach attaches it to the image in a registry.",
  );
  addStatementOptions(addEvidenceOptions(command))
    .option("--builder <id>", "the builder, by its id in the ledger (default: the last build)")
    .action(async (image: string, options: Options) => {
      const { tree, evidence } = await gatherEvidence(image, options);
      const record = chooseRecord(evidence, options.builder);
      const repository = `${options.signedAs}/${evidence.plan.name}`;
      const commit = await findFolderCommit(tree.root, evidence.plan.folder);
      const statement = provenanceStatement({ evidence, repository }, record, commit);
      const { builder, finished } = record;
      const { facts } = builder;
      const lines = [
        `built by ${builder.id} (${facts.arch}, ${facts.cpuVendor}, BuildKit ${facts.buildkit}, ${facts.go}), ${finished}`,
        `from ${evidence.plan.sources.length} sources and ${evidence.plan.dependencies.length} images, ` +
          `${commit === null ? "of a folder without a commit, or changed since" : `commit ${commit.commit}`}`,
      ];
      await printAndSign({ statement, evidence, repository, lines }, options);
    });
  return command;
}
