import { credentials } from "@grpc/grpc-js";
import engineService from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import engineMessages from "@pulumi/pulumi/proto/engine_pb.js";
import { printableBlock } from "../../../lib/text/printable.ts";

export type Severity = "debug" | "info" | "warning" | "error";

/** The engine that started this provider, and displays its messages. */
export type Engine = {
  /**
   * Shows a message beside the resource. An ephemeral one stands until the next, and is not in the
   * final output.
   */
  log(severity: Severity, message: string, at?: { urn: string; ephemeral?: boolean }): void;
};

/** An {@link Engine} whose address may become known later, or change. */
export type AttachableEngine = Engine & {
  /** Logs to the engine at this address from now on. */
  attach(address: string): void;
};

/**
 * Connects to an engine. Messages that it does not accept are dropped: none is essential.
 * @param address from the command line; empty if a debugger started this process, to which engines
 *   attach
 */
export function connectEngine(address: string): AttachableEngine {
  let client = clientOf(address);
  const severities = {
    debug: engineMessages.LogSeverity.DEBUG,
    info: engineMessages.LogSeverity.INFO,
    warning: engineMessages.LogSeverity.WARNING,
    error: engineMessages.LogSeverity.ERROR,
  };
  return {
    log(severity, message, at) {
      const request = new engineMessages.LogRequest();
      request.setSeverity(severities[severity]);
      request.setMessage(printableBlock(message));
      request.setUrn(at?.urn ?? "");
      request.setEphemeral(at?.ephemeral ?? false);
      client?.log(request, () => {});
    },
    attach(to) {
      client?.close();
      client = clientOf(to);
    },
  };
}

function clientOf(address: string): engineService.EngineClient | undefined {
  return address === "" ? undefined : new engineService.EngineClient(address, credentials.createInsecure());
}
