import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import type { CheckFailure } from "../../../config/check-failures.ts";
import { printableBlock, printableLine } from "../../../lib/text/printable.ts";
import type { PropertyChange } from "./handler.ts";

/** Returns the answer to Check: the inputs as they came, and what is wrong with them. */
export function checkResponse(
  news: Struct | undefined,
  failures: readonly CheckFailure[],
): messages.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(news);
  response.setFailuresList(failures.map(failureMessage));
  return response;
}

/** Returns a failure as Check and Invoke report it. */
export function failureMessage({ property, reason }: CheckFailure): messages.CheckFailure {
  const failure = new messages.CheckFailure();
  failure.setProperty(printableLine(property));
  failure.setReason(printableBlock(reason));
  return failure;
}

/** Returns the answer to Diff, with each change at its path. */
export function diffResponse(changes: readonly PropertyChange[]): messages.DiffResponse {
  const { Kind } = messages.PropertyDiff;
  const kinds = {
    add: [Kind.ADD, Kind.ADD_REPLACE],
    delete: [Kind.DELETE, Kind.DELETE_REPLACE],
    update: [Kind.UPDATE, Kind.UPDATE_REPLACE],
  } as const;
  const { DIFF_SOME, DIFF_NONE } = messages.DiffResponse.DiffChanges;
  const response = new messages.DiffResponse();
  response.setChanges(changes.length > 0 ? DIFF_SOME : DIFF_NONE);
  response.setHasdetaileddiff(true);
  for (const { path, kind, replaces } of changes) {
    const outermost = path.split(/[.[]/, 1)[0] ?? path;
    response.addDiffs(outermost);
    if (replaces) response.addReplaces(outermost);
    const difference = new messages.PropertyDiff();
    difference.setKind(kinds[kind][replaces ? 1 : 0]);
    difference.setInputdiff(true);
    response.getDetaileddiffMap().set(path, difference);
  }
  return response;
}
