import grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import service from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import structs from "google-protobuf/google/protobuf/struct_pb.js";

/** The least a provider can do: it gives every resource a digest without doing anything, and never sees a difference. */
type Reply<Response> = grpc.sendUnaryData<Response>;
type Call<Request> = grpc.ServerUnaryCall<Request, unknown>;

const digest = structs.Struct.fromJavaScript({ digest: `sha256:${"0".repeat(64)}` });
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
    response.setProperties(digest);
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
