import type { StagexConfig } from "../config/schema.ts";

/**
 * The engine's environment for `up`: it writes its state once, at the end, where a stack has nothing but packages.
 *
 * By default it writes its whole state before and after each resource, lest one be lost by a crash: the most of what a large tree's
 * first run takes. No package is lost: the ledger has each as soon as it is built, and the next run finds it there. Of anything else
 * the state is the only record: a machine on AWS that it does not name runs, and is paid for, until somebody happens upon it.
 */
export function checkpointEnvironment({
  attest,
  aws,
  builders,
  localBuilders,
}: StagexConfig): NodeJS.ProcessEnv {
  const hasOthers = [attest, aws, builders, localBuilders].some((setting) => setting !== undefined);
  return hasOthers ? {} : { PULUMI_SKIP_CHECKPOINTS: "true" };
}
