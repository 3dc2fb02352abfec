import { isDeepStrictEqual } from "node:util";
import grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import providerService from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import { toCheckFailures } from "../../../config/check-failures.ts";
import { renamedKeysWarning, withNewNames } from "../../../config/renamed-keys.ts";
import { checkConfig, parseConfig, type StagexConfig } from "../../../config/schema.ts";
import { printableLine } from "../../../lib/text/printable.ts";
import type { Operation } from "../../../pipeline/operation.ts";
import { unknown } from "../../../pipeline/unknown-schema.ts";
import { EphemeralLines } from "../../../pulumi-workarounds/ephemeral-lines.ts";
import type { AttachableEngine } from "./engine-log.ts";
import { checkResponse, diffResponse, failureMessage } from "./grpc-responses.ts";
import { NotReadyAsRead, StatusError, statusOf } from "./grpc-status.ts";
import {
  type AnyResourceHandler,
  type FunctionHandler,
  NotReadyError,
  type PropertyChange,
} from "./handler.ts";
import { checkInputs, parseState, previewOutputs, requireInputs } from "./handler-values.ts";
import { packageSchema } from "./package-schema.ts";
import { decodeProperties, encodeProperties, type PropertyMap, unwrapSecrets } from "./property-values.ts";

/** A resource provider, for the server to serve. */
export type Provider = {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly AnyResourceHandler[];
  readonly functions: readonly FunctionHandler[];
  /**
   * Configures the provider.
   * @param project the folder with Pulumi.yaml, where the engine starts its providers
   * @param cancelled ends work that several resources share
   */
  configure(config: StagexConfig, project: string, cancelled: AbortSignal): void;
  /** Releases daemons and temporary folders. The provider may be configured again afterwards. */
  close(): Promise<void>;
};

/**
 * The limit of all Pulumi providers (sdk: rpcutil.GrpcChannelOptions): gRPC's default of 4 MiB is
 * too small for large states.
 */
const maxMessage = 400 * 1024 * 1024;

/**
 * The resource provider's gRPC service (pulumi/provider.proto). An error outside of any call ends
 * every call in progress, so that the engine never waits for an answer.
 */
export class ProviderServer {
  readonly #provider: Provider;
  readonly #engine: AttachableEngine;
  readonly #lines: EphemeralLines;
  #cancelled = new AbortController();
  #hasWarnedOfOldNames = false;
  readonly #underWay = new Set<(error: Error) => void>();
  readonly #server = new grpc.Server({
    "grpc.max_receive_message_length": maxMessage,
    "grpc.max_send_message_length": maxMessage,
  });

  constructor(provider: Provider, engine: AttachableEngine) {
    this.#provider = provider;
    this.#engine = engine;
    this.#lines = new EphemeralLines(engine);
    this.#server.addService(providerService.ResourceProviderService, this.#service());
  }

  /** Listens on a free port of the loopback interface, and returns it. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  }

  /** Ends all calls with this error, which was thrown outside of them. */
  failAll(error: Error): void {
    for (const fail of this.#underWay) fail(error);
  }

  /** Cancels builds in progress, waits until their calls are answered, and closes the provider. */
  async close(): Promise<void> {
    this.#cancelled.abort(new StatusError("CANCELLED", "cancelled"));
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    await this.#provider.close();
  }

  #service(): grpc.UntypedServiceImplementation {
    return {
      handshake: this.#answer(() => {
        const response = new messages.ProviderHandshakeResponse();
        response.setAcceptSecrets(true);
        return response;
      }),
      attach: this.#answer(async (request: pluginMessages.PluginAttach) => {
        await this.#beginAnew();
        this.#engine.attach(request.getAddress());
        return new emptyMessages.Empty();
      }),
      getPluginInfo: this.#answer(() => {
        const response = new pluginMessages.PluginInfo();
        response.setVersion(this.#provider.version);
        return response;
      }),
      getSchema: this.#answer(() => {
        const response = new messages.GetSchemaResponse();
        response.setSchema(JSON.stringify(packageSchema(this.#provider)));
        return response;
      }),
      checkConfig: this.#answer((request: messages.CheckRequest) => {
        const news = unwrapSecrets(decodeProperties(request.getNews())) as PropertyMap;
        // Not in `configure`, which also gets the inputs that the state has from an earlier run.
        this.#warnOfOldNames(news);
        // A value that another resource has yet to give cannot be checked.
        const problems = checkConfig(news).filter(({ property }) => news[property] !== unknown);
        return checkResponse(request.getNews(), problems);
      }),
      diffConfig: this.#answer((request: messages.DiffRequest) => {
        // The place of the tree and its builders change no digest: the configuration never replaces
        // a resource.
        const [olds, news] = [request.getOldInputs() ?? request.getOlds(), request.getNews()].map((struct) =>
          withNewNames(struct?.toJavaScript() ?? {}),
        );
        const response = new messages.DiffResponse();
        const same = isDeepStrictEqual(olds, news);
        response.setChanges(
          same ? messages.DiffResponse.DiffChanges.DIFF_NONE : messages.DiffResponse.DiffChanges.DIFF_SOME,
        );
        return response;
      }),
      configure: this.#answer((request: messages.ConfigureRequest) => {
        const values = unwrapSecrets(decodeProperties(request.getArgs())) as PropertyMap;
        this.#provider.configure(parseConfig(values), process.cwd(), this.#cancelled.signal);
        const response = new messages.ConfigureResponse();
        response.setAcceptsecrets(true);
        response.setSupportspreview(true);
        return response;
      }),
      check: this.#answer((request: messages.CheckRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        return checkResponse(request.getNews(), checkInputs(handler, decodeProperties(request.getNews())));
      }),
      diff: this.#answer(async (request: messages.DiffRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const before = decodeProperties(request.getOldInputs() ?? request.getOlds());
        const ignored = new Set(request.getIgnorechangesList());
        const changes = handler.diff(before, decodeProperties(request.getNews()));
        if (changes.length === 0) changes.push(...(await this.#review(handler, request)));
        return diffResponse(changes.filter(({ path }) => !ignored.has(path)));
      }),
      create: this.#answer(async (request: messages.CreateRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const response = new messages.CreateResponse();
        if (request.getPreview()) {
          response.setProperties(
            await previewOutputs(handler, request.getProperties(), true, this.#operation(request)),
          );
          return response;
        }
        const inputs = requireInputs(handler, handler.inputs, request.getProperties());
        const made = await handler.create(inputs, this.#operation(request));
        response.setId(made.id);
        response.setProperties(encodeProperties(made.outputs));
        return response;
      }),
      update: this.#answer(async (request: messages.UpdateRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const response = new messages.UpdateResponse();
        const operation = { ...this.#operation(request), before: decodeProperties(request.getOlds()) };
        if (request.getPreview()) {
          response.setProperties(await previewOutputs(handler, request.getNews(), false, operation));
          return response;
        }
        const inputs = requireInputs(handler, handler.inputs, request.getNews());
        response.setProperties(encodeProperties(await handler.update(request.getId(), inputs, operation)));
        return response;
      }),
      read: this.#answer(async (request: messages.ReadRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const inputs = parseState(handler.inputs, request.getInputs());
        const outputs = parseState(handler.outputs, request.getProperties());
        const state = inputs && outputs ? { inputs, outputs } : undefined;
        // A state of another version counts as missing: the next up makes the resource again, from
        // the ledger if possible.
        const isImport = Object.keys(decodeProperties(request.getProperties())).length === 0;
        if (!state && !isImport) return new messages.ReadResponse();
        const found = await handler
          .read(request.getId(), state, this.#operation(request))
          .catch((error: unknown) => {
            throw error instanceof NotReadyError ? new NotReadyAsRead(error, request.getInputs()) : error;
          });
        const response = new messages.ReadResponse();
        if (!found) return response;
        response.setId(request.getId());
        // The inputs stay as they were written, secrets included.
        response.setInputs(state ? request.getInputs() : encodeProperties(found.inputs));
        response.setProperties(encodeProperties(found.outputs));
        return response;
      }),
      delete: this.#answer(async (request: messages.DeleteRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        await handler.delete(
          request.getId(),
          parseState(handler.outputs, request.getProperties()),
          this.#operation(request),
        );
        return new emptyMessages.Empty();
      }),
      invoke: this.#answer(async (request: messages.InvokeRequest) => {
        const called = this.#functionOf(request.getTok());
        const args = called.inputs.safeParse(unwrapSecrets(decodeProperties(request.getArgs())));
        const response = new messages.InvokeResponse();
        if (args.success) response.setReturn(encodeProperties(await called.call(args.data as PropertyMap)));
        else response.setFailuresList(toCheckFailures(args.error).map(failureMessage));
        return response;
      }),
      cancel: this.#answer(() => {
        this.#cancelled.abort(new StatusError("CANCELLED", "cancelled by the engine"));
        return new emptyMessages.Empty();
      }),
    };
  }

  /** Warns once a run: an engine may check the configuration several times. */
  #warnOfOldNames(values: PropertyMap): void {
    const warning = this.#hasWarnedOfOldNames ? undefined : renamedKeysWarning(values);
    if (warning === undefined) return;
    this.#hasWarnedOfOldNames = true;
    this.#engine.log("warning", warning);
  }

  /**
   * Closes what an earlier engine left open. An engine that attaches (PULUMI_DEBUG_PROVIDERS)
   * cancels at its end, and does not end this process.
   */
  async #beginAnew(): Promise<void> {
    if (!this.#cancelled.signal.aborted) return;
    await this.#provider.close();
    this.#cancelled = new AbortController();
    this.#hasWarnedOfOldNames = false;
  }

  /** Wraps a unary method: it answers with the result, or with the status of its error. */
  #answer<Request, Response>(
    method: (request: Request) => Response | Promise<Response>,
  ): grpc.handleUnaryCall<Request, Response> {
    return (call, callback) => {
      const fail = (error: unknown): void => {
        if (!this.#underWay.delete(fail)) return;
        this.#lines.end(urnOf(call.request), false);
        callback(statusOf(error));
      };
      this.#underWay.add(fail);
      Promise.resolve()
        .then(() => method(call.request))
        .then((response) => {
          if (!this.#underWay.delete(fail)) return;
          this.#lines.end(urnOf(call.request), true);
          callback(null, response);
        }, fail);
    };
  }

  async #review(handler: AnyResourceHandler, request: messages.DiffRequest): Promise<PropertyChange[]> {
    if (!handler.review) return [];
    const urn = request.getUrn();
    const state = () => {
      const inputs = parseState(handler.inputs, request.getNews());
      const outputs = parseState(handler.outputs, request.getOlds());
      return inputs && outputs ? { inputs, outputs } : undefined;
    };
    const operation = {
      report: (severity: "info" | "warning", message: string) => this.#engine.log(severity, message, { urn }),
    };
    return await handler.review(state, operation, (side, name) =>
      (side === "inputs" ? request.getNews() : request.getOlds())?.getFieldsMap().get(name)?.getStringValue(),
    );
  }

  #operation(request: { getUrn(): string; getTimeout(): number }): Operation {
    const [urn, seconds] = [request.getUrn(), request.getTimeout()];
    const signals = [this.#cancelled.signal];
    if (seconds > 0) {
      const late = new AbortController();
      const error = new StatusError(
        "DEADLINE_EXCEEDED",
        `not done within its custom time-out of ${seconds} s`,
      );
      setTimeout(() => late.abort(error), seconds * 1000).unref();
      signals.push(late.signal);
    }
    return {
      // Most resources have no time-out, and combining one signal costs as much as combining many.
      signal: signals.length > 1 ? AbortSignal.any(signals) : this.#cancelled.signal,
      progress: (line) => this.#lines.show(urn, printableLine(line)),
      report: (severity, message) => this.#engine.log(severity, message, { urn }),
    };
  }

  #handlerOf(urn: string): AnyResourceHandler {
    return named(urn.split("::")[2]?.split("$").at(-1) ?? "", this.#provider.handlers, "resource type");
  }

  #functionOf(token: string): FunctionHandler {
    return named(token, this.#provider.functions, "function");
  }
}

/** Returns the URN of a request's resource; empty for a request without one. */
function urnOf(request: unknown): string {
  const isOfResource = typeof request === "object" && request !== null && "getUrn" in request;
  return isOfResource && typeof request.getUrn === "function" ? String(request.getUrn()) : "";
}

function named<Named extends { readonly token: string }>(
  token: string,
  all: readonly Named[],
  kind: string,
): Named {
  const found = all.find((candidate) => candidate.token === token);
  if (found) return found;
  const known = all.map((candidate) => candidate.token).join(", ") || "none";
  throw new StatusError(
    "INVALID_ARGUMENT",
    `unknown ${kind} ${JSON.stringify(token)}; this provider has: ${known}`,
  );
}
