import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import engineService from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import type engineMessages from "@pulumi/pulumi/proto/engine_pb.js";
import providerService from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
} from "../../../providers/stagex/protocol/property-values.ts";

const launcher = fileURLToPath(new URL("../../../providers/stagex/pulumi-resource-stagex", import.meta.url));

/** A line that the provider showed through the engine. */
export type LogLine = { readonly message: string; readonly urn: string; readonly ephemeral: boolean };

/**
 * The real provider process, started as the engine starts it, with the test's own engine as its
 * log.
 */
export class ProviderProcess implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly client: providerService.ResourceProviderClient;
  readonly log: LogLine[] = [];
  /** Everything that it wrote to stdout; the engine reads only the first line. */
  readonly stdout: string[] = [];
  stderr = "";
  /** The address of this test's own engine. */
  readonly engineAddress: string;
  readonly #engine: grpc.Server;

  private constructor(
    process: ChildProcess,
    port: string,
    engine: { readonly server: grpc.Server; readonly address: string },
    log: LogLine[],
  ) {
    this.process = process;
    this.engineAddress = engine.address;
    this.#engine = engine.server;
    this.log = log;
    this.client = new providerService.ResourceProviderClient(
      `127.0.0.1:${port}`,
      grpc.credentials.createInsecure(),
      { "grpc.max_receive_message_length": -1 },
    );
  }

  /**
   * Starts it in the folder of its project; `program` is another executable that serves a provider.
   * An `attached` one gets no address of the engine, as when a debugger starts it.
   */
  static async start(options: {
    cwd: string;
    env?: NodeJS.ProcessEnv;
    program?: string[];
    attached?: boolean;
  }): Promise<ProviderProcess> {
    const log: LogLine[] = [];
    const engine = new grpc.Server();
    engine.addService(engineService.EngineService, {
      log(
        call: grpc.ServerUnaryCall<engineMessages.LogRequest, emptyMessages.Empty>,
        done: grpc.sendUnaryData<emptyMessages.Empty>,
      ) {
        log.push({
          message: call.request.getMessage(),
          urn: call.request.getUrn(),
          ephemeral: call.request.getEphemeral(),
        });
        done(null, new emptyMessages.Empty());
      },
    } as unknown as grpc.UntypedServiceImplementation);
    const enginePort = await new Promise<number>((resolve, reject) => {
      engine.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
    const [command = launcher, ...leading] = options.program ?? [launcher];
    const address = `127.0.0.1:${enginePort}`;
    const child = spawn(command, [...leading, ...(options.attached ? [] : [address])], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const lines = createInterface({ input: child.stdout });
    const [port] = (await Promise.race([
      once(lines, "line"),
      once(child, "exit").then(([code]) =>
        Promise.reject(new Error(`the provider ended with ${code} before it said its port`)),
      ),
    ])) as [string];
    const provider = new ProviderProcess(child, port, { server: engine, address }, log);
    provider.stdout.push(port);
    lines.on("line", (line) => provider.stdout.push(line));
    child.stderr.on("data", (chunk) => {
      provider.stderr += chunk;
    });
    return provider;
  }

  /** Configures it as the engine does, with the `stagex:` keys as text. */
  async configure(config: PropertyMap): Promise<void> {
    const request = new messages.ConfigureRequest();
    request.setArgs(encodeProperties(config));
    request.setAcceptsecrets(true);
    await this.call("configure", request);
  }

  /** Creates or previews a resource, and returns its properties. */
  async create(urn: string, news: PropertyMap, preview = false): Promise<PropertyMap> {
    const request = new messages.CreateRequest();
    request.setUrn(urn);
    request.setProperties(encodeProperties(news));
    request.setPreview(preview);
    return decodeProperties((await this.call("create", request)).getProperties());
  }

  /** Calls a function, and returns its properties. */
  async invoke(token: string, args: PropertyMap): Promise<PropertyMap> {
    const request = new messages.InvokeRequest();
    request.setTok(token);
    request.setArgs(encodeProperties(args));
    return decodeProperties((await this.call("invoke", request)).getReturn());
  }

  /** Makes one call. Rejects with the gRPC error. */
  call<Method extends keyof Calls>(method: Method, request: Calls[Method][0]): Promise<Calls[Method][1]> {
    const ask = this.client[method].bind(this.client) as unknown as (
      request: unknown,
      done: (error: grpc.ServiceError | null, response: Calls[Method][1]) => void,
    ) => void;
    return new Promise((resolve, reject) =>
      ask(request, (error, response) => (error ? reject(error) : resolve(response))),
    );
  }

  /** Resolves to the exit code once the process has ended. */
  async ended(): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, "exit");
    return this.process.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.process.kill("SIGTERM");
    const late = setTimeout(() => this.process.kill("SIGKILL"), 10_000);
    await this.ended();
    clearTimeout(late);
    this.#engine.forceShutdown();
  }
}

type Calls = {
  handshake: [messages.ProviderHandshakeRequest, messages.ProviderHandshakeResponse];
  attach: [import("@pulumi/pulumi/proto/plugin_pb.js").PluginAttach, emptyMessages.Empty];
  getSchema: [messages.GetSchemaRequest, messages.GetSchemaResponse];
  getPluginInfo: [emptyMessages.Empty, import("@pulumi/pulumi/proto/plugin_pb.js").PluginInfo];
  checkConfig: [messages.CheckRequest, messages.CheckResponse];
  diffConfig: [messages.DiffRequest, messages.DiffResponse];
  configure: [messages.ConfigureRequest, messages.ConfigureResponse];
  check: [messages.CheckRequest, messages.CheckResponse];
  diff: [messages.DiffRequest, messages.DiffResponse];
  create: [messages.CreateRequest, messages.CreateResponse];
  read: [messages.ReadRequest, messages.ReadResponse];
  update: [messages.UpdateRequest, messages.UpdateResponse];
  delete: [messages.DeleteRequest, emptyMessages.Empty];
  invoke: [messages.InvokeRequest, messages.InvokeResponse];
  cancel: [emptyMessages.Empty, emptyMessages.Empty];
};
