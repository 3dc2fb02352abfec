import { Context } from "../../pipeline/context/context.ts";
import { forecastFunction } from "./functions/forecast.ts";
import { quorumSummaryFunction } from "./functions/quorum-summary.ts";
import { warmUpFunction } from "./functions/warm-up.ts";
import type { Provider } from "./protocol/grpc-server.ts";
import type { AnyResourceHandler } from "./protocol/handler.ts";
import { withSecretOutputs } from "./protocol/secret-outputs.ts";
import { attestationHandler } from "./resources/attestation/handler.ts";
import { authorityHandler } from "./resources/authority/handler.ts";
import { builderHandler } from "./resources/builder/handler.ts";
import { certificateHandler } from "./resources/certificate/handler.ts";
import { clientPolicyHandler } from "./resources/client-policy/handler.ts";
import { packageHandler } from "./resources/package/handler.ts";
import { publicationHandler } from "./resources/publication/handler.ts";
import { quorumHandler } from "./resources/quorum/handler.ts";

/** Returns the provider, with all its resources and functions. */
export function stagexProvider(version: string): Provider {
  let context: Context | undefined;
  // Usually one. If engines attach, one that was killed leaves its context behind.
  const opened = new Set<Context>();
  const configured = (): Context => {
    if (!context) throw new Error("the provider was asked for a resource before it was configured");
    return context;
  };
  const handlers: readonly AnyResourceHandler[] = [
    packageHandler(configured),
    builderHandler(configured),
    attestationHandler(configured),
    quorumHandler(configured),
    publicationHandler(configured),
    clientPolicyHandler(configured),
    authorityHandler(),
    certificateHandler(),
  ];
  return {
    name: "stagex",
    version,
    handlers: handlers.map(withSecretOutputs),
    functions: [warmUpFunction, forecastFunction, quorumSummaryFunction].map((made) => made(configured)),
    configure(config, project, cancelled) {
      context = new Context(config, project, cancelled);
      opened.add(context);
    },
    async close() {
      const closing = [...opened];
      opened.clear();
      context = undefined;
      for (const each of closing) await each.close();
    },
  };
}
