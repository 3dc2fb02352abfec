import grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import service from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import structs from "google-protobuf/google/protobuf/struct_pb.js";

/**
 * The least that a provider can do: it returns the outputs of a resource's type without any work,
 * and finds no difference. It serves the bare graph beside it, and replaces StageX's provider under
 * StageX's own program.
 */
type Reply<Response> = grpc.sendUnaryData<Response>;
type Call<Request> = grpc.ServerUnaryCall<Request, unknown>;

const digest = `sha256:${"0".repeat(64)}`;
const outputs = new Map(
  Object.entries({
    "empty:index:Thing": { digest },
    "stagex:index:Package": {
      ...{ digest, digests: { "linux/amd64": digest }, index: digest, reference: digest },
      ...{ inputKey: "0".repeat(64), origin: "ledger" },
    },
  }).map(([type, properties]) => [type, structs.Struct.fromJavaScript(properties)]),
);
const forecast = structs.Struct.fromJavaScript({
  ...{ willBuild: 0, mayBuild: 0, fromLedger: 0, unchanged: 0 },
  ...{ criticalPath: [], criticalSeconds: 0, causes: [], text: "Nothing is foretold." },
});
const server = new grpc.Server();

server.addService(service.ResourceProviderService, {
  getPluginInfo: (_: unknown, reply: Reply<pluginMessages.PluginInfo>) =>
    reply(null, new pluginMessages.PluginInfo()),
  checkConfig: echo,
  check: echo,
  diffConfig: none,
  diff: none,
  configure(_: unknown, reply: Reply<messages.ConfigureResponse>) {
    const response = new messages.ConfigureResponse();
    response.setSupportspreview(true);
    reply(null, response);
  },
  create(call: Call<messages.CreateRequest>, reply: Reply<messages.CreateResponse>) {
    const response = new messages.CreateResponse();
    if (!call.request.getPreview()) response.setId(call.request.getName());
    response.setProperties(outputs.get(call.request.getUrn().split("::")[2]?.split("$").at(-1) ?? ""));
    reply(null, response);
  },
  invoke(call: Call<messages.InvokeRequest>, reply: Reply<messages.InvokeResponse>) {
    const response = new messages.InvokeResponse();
    response.setReturn(call.request.getTok().endsWith(":forecast") ? forecast : new structs.Struct());
    reply(null, response);
  },
  cancel: (_: unknown, reply: Reply<emptyMessages.Empty>) => reply(null, new emptyMessages.Empty()),
});

function echo(call: Call<messages.CheckRequest>, reply: Reply<messages.CheckResponse>): void {
  const response = new messages.CheckResponse();
  response.setInputs(call.request.getNews());
  reply(null, response);
}

function none(_: unknown, reply: Reply<messages.DiffResponse>): void {
  const response = new messages.DiffResponse();
  response.setChanges(messages.DiffResponse.DiffChanges.DIFF_NONE);
  reply(null, response);
}

process.on("SIGINT", () => process.exit(0));
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
