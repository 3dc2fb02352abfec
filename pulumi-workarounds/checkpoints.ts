/** The settings that put resources other than packages into a stack. */
type OtherResources = Partial<Readonly<Record<"attest" | "aws" | "builders" | "localBuilders", unknown>>>;

/**
 * Returns the engine's environment for `up`. Where a stack has packages alone, the engine writes
 * its state once, at the end.
 *
 * By default the engine writes its whole state before and after each resource, so that a crash
 * loses none. That is most of the time of a large tree's first run. No package is lost without it:
 * the ledger has each as soon as it is built, and the next run finds it there. Of other resources
 * the state is the only record. A machine on AWS that the state does not name runs, and costs
 * money, until someone finds it.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/10960 and
 * https://github.com/pulumi/pulumi/issues/15218 (the file backend writes every checkpoint whole),
 * https://github.com/pulumi/pulumi/issues/10768 (a safer PULUMI_SKIP_CHECKPOINTS).
 *
 * Remove when the file backend journals, or batches its checkpoints.
 */
export function checkpointEnvironment({
  attest,
  aws,
  builders,
  localBuilders,
}: OtherResources): NodeJS.ProcessEnv {
  const hasOthers = [attest, aws, builders, localBuilders].some((setting) => setting !== undefined);
  return hasOthers ? {} : { PULUMI_SKIP_CHECKPOINTS: "true" };
}
