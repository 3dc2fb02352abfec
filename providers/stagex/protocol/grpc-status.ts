import grpc from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import anyMessages from "google-protobuf/google/protobuf/any_pb.js";
import type { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import { withHint } from "../../../lib/os-error-hints.ts";
import { type Printable, printableBlock } from "../../../lib/text/printable.ts";
import { NotReadyError } from "./handler.ts";
import { encodeProperties } from "./property-values.ts";

/** An error with a gRPC status of its own; all others become UNKNOWN or INTERNAL. */
export class StatusError extends Error {
  readonly code: grpc.status;
  constructor(code: keyof typeof grpc.status, message: string) {
    super(message);
    this.code = grpc.status[code];
  }
}

/**
 * A resource that a read finds not ready. It keeps its inputs as they were written, secrets
 * included.
 */
export class NotReadyAsRead extends Error {
  override readonly cause: NotReadyError;
  readonly inputs: Struct | undefined;
  constructor(cause: NotReadyError, inputs: Struct | undefined) {
    super(cause.message);
    this.cause = cause;
    this.inputs = inputs;
  }
}

/**
 * Returns the status of an error: with the stack for a defect of this provider, and with the
 * message only for all others.
 */
export function statusOf(error: unknown): Partial<grpc.StatusObject> {
  if (error instanceof NotReadyError) return notReadyStatus(error);
  if (error instanceof NotReadyAsRead) return notReadyStatus(error.cause, error.inputs);
  const { code, details } = wholeStatusOf(error);
  return { code, details: bounded(details) };
}

function wholeStatusOf(error: unknown): { code: grpc.status; details: string } {
  if (error instanceof StatusError) return { code: error.code, details: error.message };
  if (!(error instanceof Error)) return { code: grpc.status.UNKNOWN, details: String(error) };
  if (error.name === "AbortError") {
    // Node's own functions wrap the signal's reason, such as a time-out, in an error of theirs.
    if (error.cause instanceof StatusError) return wholeStatusOf(error.cause);
    return { code: grpc.status.CANCELLED, details: error.message };
  }
  const isDefect = [TypeError, ReferenceError, RangeError].some((kind) => error instanceof kind);
  if (!isDefect) return { code: grpc.status.UNKNOWN, details: withHint(error) };
  return {
    code: grpc.status.INTERNAL,
    details: `a defect of the stagex provider, please report it: ${error.stack}`,
  };
}

/**
 * Returns the status of a resource that exists but is not ready (provider.proto:
 * ErrorResourceInitFailed). It is in the details of a google.rpc.Status, in the trailer where all
 * gRPC implementations keep them.
 */
function notReadyStatus(
  { message, id, outputs, reasons }: NotReadyError,
  inputs?: Struct,
): Partial<grpc.StatusObject> {
  const failed = new messages.ErrorResourceInitFailed();
  failed.setId(id);
  failed.setProperties(encodeProperties(outputs));
  failed.setReasonsList(reasons.map(printableBlock));
  if (inputs) failed.setInputs(inputs);
  const detail = new anyMessages.Any();
  detail.pack(failed.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const code = grpc.status.UNKNOWN;
  const status = new statusMessages.Status();
  status.setCode(code);
  status.setMessage(boundedTo(longestSummary, message));
  status.addDetails(detail);
  const bytes = Buffer.from(status.serializeBinary());
  if (bytes.length > longestDetails) return { code, details: bounded(message) };
  const metadata = new grpc.Metadata();
  metadata.set("grpc-status-details-bin", bytes);
  return { code, details: boundedTo(longestSummary, message), metadata };
}

/**
 * Most bytes of a status's details: as base64, they and the summary must stay below the 64 KiB of
 * all headers. A resource with more fails like any other, and the next run makes it again.
 */
const longestDetails = 40_000;

/**
 * Most bytes of a message whose full text is in the status's details, which share the headers with
 * it.
 */
const longestSummary = 1_000;

/**
 * Most bytes of a message that arrives. It travels in HTTP/2 headers, of which nghttp2 sends 64
 * KiB, and gRPC writes up to three bytes for one. A longer message would reach the engine as a
 * broken stream only.
 */
const longestMessage = 18_000;

/**
 * Returns the message for Pulumi's display; of a message that is too long, its beginning and its
 * end.
 */
function bounded(message: string): Printable {
  return boundedTo(longestMessage, message);
}

function boundedTo(longest: number, message: string): Printable {
  const text = printableBlock(message);
  const bytes = Buffer.from(text);
  const left = bytes.length - longest;
  if (left <= 0) return text;
  const half = longest / 2;
  // The cut may turn the middle of a line into its beginning, so the result is escaped again.
  return printableBlock(`${bytes.subarray(0, half)}\n… ${left} bytes left out …\n${bytes.subarray(-half)}`);
}
