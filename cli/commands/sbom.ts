import { Command } from "commander";
import { sbomStatement } from "../../pipeline/statements/image-statement.ts";
import { addEvidenceOptions, type EvidenceOptions, gatherEvidence } from "../statements/evidence-options.ts";
import { addStatementOptions, printAndSign, type StatementOptions } from "../statements/sign-and-attach.ts";

type Options = EvidenceOptions & StatementOptions;

/** `stagex sbom`: prints the contents of an image as SPDX. */
export function sbomCommand(): Command {
  const command = new Command("sbom").description(
    "Prints what an image contains: an SPDX 2.3 document with its sources and the images that it was built with. The same image gives " +
      "the same document. --sign signs it as the image itself is signed; --attach attaches it to the image in a registry.",
  );
  addStatementOptions(addEvidenceOptions(command)).action(async (image: string, options: Options) => {
    const { evidence } = await gatherEvidence(image, options);
    const { plan, toml } = evidence;
    const repository = `${options.signedAs}/${evidence.plan.name}`;
    const statement = sbomStatement({ evidence, repository });
    const lines = [
      `${plan.name} ${plan.version}, ${toml.license ?? "no license in package.toml"}`,
      ...plan.sources.map(({ file, sha256 }) => `  source      ${file}  sha256:${sha256}`),
      ...Object.entries(evidence.dependencies).map(([name, digest]) => `  built with  ${name}  ${digest}`),
    ];
    await printAndSign({ statement, evidence, repository, lines }, options);
  });
  return command;
}
