import grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import providerService from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import anyMessages from "google-protobuf/google/protobuf/any_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import type { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import type { z } from "zod";
import { type CheckFailure, checkFailures } from "../../../config/check-failures.ts";
import { checkConfig, parseConfig, type StagexConfig } from "../../../config/schema.ts";
import { withHint } from "../../../lib/os-error-hints.ts";
import { type Printable, printable, printableBlock, printableLine } from "../../../lib/text/printable.ts";
import type { Operation } from "../../../pipeline/operation.ts";
import { previewSchema, unknown } from "../../../pipeline/unknown-schema.ts";
import { EphemeralLines } from "../../../pulumi-workarounds/ephemeral-lines.ts";
import type { AttachableEngine } from "./engine-log.ts";
import {
  type AnyResourceHandler,
  type FunctionHandler,
  NotReadyError,
  type PropertyChange,
} from "./handler.ts";
import { packageSchema } from "./package-schema.ts";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
  secretPaths,
  unwrapSecrets,
} from "./property-values.ts";

/** What the server serves: the handlers by token, made once the engine has configured the provider. */
export type Provider = {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly AnyResourceHandler[];
  readonly functions: readonly FunctionHandler[];
  /**
   * `project` is the folder with Pulumi.yaml, where the engine starts its providers; `cancelled` ends what is done for more
   * resources than one.
   */
  configure(config: StagexConfig, project: string, cancelled: AbortSignal): void;
  /** Ends what the provider holds: daemons, temporary folders. It may be configured anew after that. */
  close(): Promise<void>;
};

/** An error whose gRPC status is more than "it failed". */
class StatusError extends Error {
  readonly code: grpc.status;
  constructor(code: grpc.status, message: string) {
    super(message);
    this.code = code;
  }
}

/** A resource that is found not to be ready: what was asked for stays as it was written. */
class NotReadyAsRead extends Error {
  override readonly cause: NotReadyError;
  readonly inputs: Struct | undefined;
  constructor(cause: NotReadyError, inputs: Struct | undefined) {
    super(cause.message);
    this.cause = cause;
    this.inputs = inputs;
  }
}

/** What every Pulumi provider allows (sdk: rpcutil.GrpcChannelOptions); gRPC's own 4 MiB is too small for large states. */
const maxMessage = 400 * 1024 * 1024;

/**
 * The resource provider's gRPC service (pulumi/provider.proto). Errors become statuses here and nowhere else.
 * A throw outside of any call ends every call under way with an error, so that the engine never waits for an answer.
 */
export class ProviderServer {
  readonly #provider: Provider;
  readonly #engine: AttachableEngine;
  readonly #lines: EphemeralLines;
  #cancelled = new AbortController();
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

  /** Listens on a free port of the loopback interface, and resolves to it. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  }

  /** Ends all calls with this error; for what was thrown where no call could catch it. */
  failAll(error: Error): void {
    for (const fail of this.#underWay) fail(error);
  }

  /** Ends builds under way, waits for their calls to be answered, and lets go of what the provider holds. */
  async close(): Promise<void> {
    this.#cancelled.abort(new StatusError(grpc.status.CANCELLED, "cancelled"));
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
        // What another resource has yet to give can't be wrong yet.
        const problems = checkConfig(news).filter(({ property }) => news[property] !== unknown);
        return checked(request.getNews(), problems);
      }),
      diffConfig: this.#answer((request: messages.DiffRequest) => {
        // Where the tree lies or who builds it changes no digest: no resource is ever replaced for it.
        const [olds, news] = [request.getOldInputs() ?? request.getOlds(), request.getNews()];
        const response = new messages.DiffResponse();
        const same = JSON.stringify(olds?.toJavaScript()) === JSON.stringify(news?.toJavaScript());
        response.setChanges(
          same ? messages.DiffResponse.DiffChanges.DIFF_NONE : messages.DiffResponse.DiffChanges.DIFF_SOME,
        );
        return response;
      }),
      configure: this.#answer((request: messages.ConfigureRequest) => {
        this.#provider.configure(
          parseConfig(unwrapSecrets(decodeProperties(request.getArgs())) as PropertyMap),
          process.cwd(),
          this.#cancelled.signal,
        );
        const response = new messages.ConfigureResponse();
        response.setAcceptsecrets(true);
        response.setSupportspreview(true);
        return response;
      }),
      check: this.#answer((request: messages.CheckRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        return checked(request.getNews(), check(handler, decodeProperties(request.getNews())));
      }),
      diff: this.#answer(async (request: messages.DiffRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const before = decodeProperties(request.getOldInputs() ?? request.getOlds());
        const ignored = new Set(request.getIgnorechangesList());
        const changes = handler.diff(before, decodeProperties(request.getNews()));
        if (changes.length === 0) changes.push(...(await this.#reviewed(handler, request)));
        return differing(changes.filter(({ path }) => !ignored.has(path)));
      }),
      create: this.#answer(async (request: messages.CreateRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const response = new messages.CreateResponse();
        if (request.getPreview()) {
          response.setProperties(
            await previewed(handler, request.getProperties(), true, this.#work(request)),
          );
          return response;
        }
        const inputs = known(handler, handler.inputs, request.getProperties());
        const made = await handler.create(inputs, this.#work(request));
        response.setId(made.id);
        response.setProperties(encodeProperties(made.outputs));
        return response;
      }),
      update: this.#answer(async (request: messages.UpdateRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const response = new messages.UpdateResponse();
        const operation = { ...this.#work(request), before: decodeProperties(request.getOlds()) };
        if (request.getPreview()) {
          response.setProperties(await previewed(handler, request.getNews(), false, operation));
          return response;
        }
        const inputs = known(handler, handler.inputs, request.getNews());
        response.setProperties(encodeProperties(await handler.update(request.getId(), inputs, operation)));
        return response;
      }),
      read: this.#answer(async (request: messages.ReadRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        const inputs = parsed(handler.inputs, request.getInputs());
        const outputs = parsed(handler.outputs, request.getProperties());
        const state = inputs && outputs ? { inputs, outputs } : undefined;
        // What another version wrote is as good as gone: the next up makes it again, from the ledger where it can.
        const isImport = Object.keys(decodeProperties(request.getProperties())).length === 0;
        if (!state && !isImport) return new messages.ReadResponse();
        const found = await handler
          .read(request.getId(), state, this.#work(request))
          .catch((error: unknown) => {
            throw error instanceof NotReadyError ? new NotReadyAsRead(error, request.getInputs()) : error;
          });
        const response = new messages.ReadResponse();
        if (!found) return response;
        response.setId(request.getId());
        // What was asked for stays as it was written, secrets included.
        response.setInputs(state ? request.getInputs() : encodeProperties(found.inputs));
        response.setProperties(encodeProperties(found.outputs));
        return response;
      }),
      delete: this.#answer(async (request: messages.DeleteRequest) => {
        const handler = this.#handlerOf(request.getUrn());
        await handler.delete(
          request.getId(),
          parsed(handler.outputs, request.getProperties()),
          this.#work(request),
        );
        return new emptyMessages.Empty();
      }),
      invoke: this.#answer(async (request: messages.InvokeRequest) => {
        const called = this.#functionOf(request.getTok());
        const args = called.inputs.safeParse(unwrapSecrets(decodeProperties(request.getArgs())));
        const response = new messages.InvokeResponse();
        if (args.success) response.setReturn(encodeProperties(await called.call(args.data as PropertyMap)));
        else response.setFailuresList(checkFailures(args.error).map(failureMessage));
        return response;
      }),
      cancel: this.#answer(() => {
        this.#cancelled.abort(new StatusError(grpc.status.CANCELLED, "cancelled by the engine"));
        return new emptyMessages.Empty();
      }),
    };
  }

  /**
   * Ends what an engine before this one left open. An engine that attaches (PULUMI_DEBUG_PROVIDERS) cancels at its end, and does not end
   * this process.
   */
  async #beginAnew(): Promise<void> {
    if (!this.#cancelled.signal.aborted) return;
    await this.#provider.close();
    this.#cancelled = new AbortController();
  }

  /** A unary method: its answer, or the status that its error stands for. */
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

  async #reviewed(handler: AnyResourceHandler, request: messages.DiffRequest): Promise<PropertyChange[]> {
    if (!handler.review) return [];
    const urn = request.getUrn();
    const state = () => {
      const inputs = parsed(handler.inputs, request.getNews());
      const outputs = parsed(handler.outputs, request.getOlds());
      return inputs && outputs ? { inputs, outputs } : undefined;
    };
    const operation = {
      report: (severity: "info" | "warning", message: string) => this.#engine.log(severity, message, { urn }),
    };
    return await handler.review(state, operation, (side, name) =>
      (side === "inputs" ? request.getNews() : request.getOlds())?.getFieldsMap().get(name)?.getStringValue(),
    );
  }

  #work(request: { getUrn(): string; getTimeout(): number }): Operation {
    const [urn, seconds] = [request.getUrn(), request.getTimeout()];
    const signals = [this.#cancelled.signal];
    if (seconds > 0) {
      const late = new AbortController();
      const error = new StatusError(
        grpc.status.DEADLINE_EXCEEDED,
        `not done within its custom time-out of ${seconds} s`,
      );
      setTimeout(() => late.abort(error), seconds * 1000).unref();
      signals.push(late.signal);
    }
    return {
      // Most have no time-out of their own, and a signal over one other costs as much as over many.
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

/** Of which resource a request is; empty where it is of none. */
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
    grpc.status.INVALID_ARGUMENT,
    `unknown ${kind} ${JSON.stringify(token)}; this provider has: ${known}`,
  );
}

function failureMessage({ property, reason }: CheckFailure): messages.CheckFailure {
  const failure = new messages.CheckFailure();
  failure.setProperty(printableLine(property));
  failure.setReason(printableBlock(reason));
  return failure;
}

const previews = new WeakMap<AnyResourceHandler, z.ZodType<PropertyMap>>();

/** The schema of a resource's inputs in a preview, derived once. */
function previewInputs(handler: AnyResourceHandler): z.ZodType<PropertyMap> {
  const schema = previews.get(handler) ?? (previewSchema(handler.inputs) as z.ZodType<PropertyMap>);
  previews.set(handler, schema);
  return schema;
}

function check(handler: AnyResourceHandler, news: PropertyMap): CheckFailure[] {
  const result = previewInputs(handler).safeParse(unwrapSecrets(news));
  if (!result.success) return checkFailures(result.error);
  return handler.check(result.data, secretPaths(news));
}

/** Inputs that Check has passed; that they fail now is an error of the engine's or ours, and said as such. */
function known<Known>(
  handler: AnyResourceHandler,
  schema: z.ZodType<Known>,
  struct: Struct | undefined,
): Known {
  const result = schema.safeParse(unwrapSecrets(decodeProperties(struct)));
  if (result.success) return result.data;
  const reasons = checkFailures(result.error).map(
    ({ property, reason }) => printable`${property}: ${reason}`,
  );
  throw new StatusError(grpc.status.INVALID_ARGUMENT, `inputs of ${handler.token}: ${reasons.join("; ")}`);
}

/** What the state holds, or undefined where another version of this provider wrote something else. */
function parsed<Known>(schema: z.ZodType<Known>, struct: Struct | undefined): Known | undefined {
  return schema.safeParse(unwrapSecrets(decodeProperties(struct))).data;
}

async function previewed(
  handler: AnyResourceHandler,
  struct: Struct | undefined,
  isNew: boolean,
  operation: Operation,
): Promise<Struct> {
  const certain = await handler.preview(known(handler, previewInputs(handler), struct), isNew, operation);
  return encodeProperties(
    Object.fromEntries(Object.keys(handler.outputs.shape).map((name) => [name, certain[name] ?? unknown])),
  );
}

function checked(news: Struct | undefined, failures: readonly CheckFailure[]): messages.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(news);
  response.setFailuresList(failures.map(failureMessage));
  return response;
}

function differing(changes: readonly PropertyChange[]): messages.DiffResponse {
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

/** The status of an error: a defect of this provider shows its stack, all else only what its message says. */
function statusOf(error: unknown): Partial<grpc.StatusObject> {
  if (error instanceof NotReadyError) return notReadyStatus(error);
  if (error instanceof NotReadyAsRead) return notReadyStatus(error.cause, error.inputs);
  const { code, details } = wholeStatusOf(error);
  return { code, details: bounded(details) };
}

function wholeStatusOf(error: unknown): { code: grpc.status; details: string } {
  if (error instanceof StatusError) return { code: error.code, details: error.message };
  if (!(error instanceof Error)) return { code: grpc.status.UNKNOWN, details: String(error) };
  if (error.name === "AbortError") {
    // Node's own functions put the signal's reason, such as a time-out, below an error of theirs.
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
 * A resource that exists but is not ready (provider.proto: ErrorResourceInitFailed), as details of a google.rpc.Status in the trailer
 * that all gRPC implementations keep them in.
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
 * In bytes: written in base64, they and the summary must be below the 64 KiB of all headers. A resource that has more to tell fails
 * like any other, and is made anew by the next run.
 */
const longestDetails = 40_000;

/** Of what is said in full in a status's details, which share the headers with it. In bytes. */
const longestSummary = 1_000;

/**
 * The longest message that arrives, in bytes: it travels in HTTP/2 headers, of which nghttp2 sends 64 KiB, and gRPC writes up to
 * three bytes for one. Of a longer one the engine would hear of a broken stream alone.
 */
const longestMessage = 18_000;

/** The message for Pulumi's display or, of one that is too long, its beginning and its end. */
function bounded(message: string): Printable {
  return boundedTo(longestMessage, message);
}

function boundedTo(longest: number, message: string): Printable {
  const text = printableBlock(message);
  const bytes = Buffer.from(text);
  const left = bytes.length - longest;
  if (left <= 0) return text;
  const half = longest / 2;
  // What is cut in two may begin a line with what was in the middle of one.
  return printableBlock(`${bytes.subarray(0, half)}\n… ${left} bytes left out …\n${bytes.subarray(-half)}`);
}
