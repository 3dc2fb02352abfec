import { attestationHandler } from "./attestation/handler.ts";
import { authorityHandler } from "./authority/handler.ts";
import { builderHandler } from "./builder/handler.ts";
import { certificateHandler } from "./certificate/handler.ts";
import { clientPolicyHandler } from "./client-policy/handler.ts";
import { forecastFunction } from "./forecast/function.ts";
import type { AnyHandler } from "./handler.ts";
import { packageHandler } from "./package/handler.ts";
import { publicationHandler } from "./publication/handler.ts";
import { quorumsFunction } from "./quorum/function.ts";
import { quorumHandler } from "./quorum/handler.ts";
import { readinessFunction } from "./readiness/function.ts";
import { keepingSecrets } from "./secret-outputs.ts";
import type { Provider } from "./server.ts";
import { Workshop } from "./workshop.ts";

/** The provider as the engine knows it: every resource and function that it has, by token. */
export function stagexProvider(version: string): Provider {
  let workshop: Workshop | undefined;
  // One, but where engines attach: one that was killed leaves its own behind.
  const opened = new Set<Workshop>();
  const configured = (): Workshop => {
    if (!workshop) throw new Error("the provider was asked for a resource before it was configured");
    return workshop;
  };
  const handlers = [
    packageHandler(configured) as unknown as AnyHandler,
    builderHandler(configured) as unknown as AnyHandler,
    attestationHandler(configured) as unknown as AnyHandler,
    quorumHandler(configured) as unknown as AnyHandler,
    publicationHandler(configured) as unknown as AnyHandler,
    clientPolicyHandler(configured) as unknown as AnyHandler,
    authorityHandler() as unknown as AnyHandler,
    certificateHandler() as unknown as AnyHandler,
  ];
  return {
    name: "stagex",
    version,
    handlers: handlers.map(keepingSecrets),
    functions: [readinessFunction, forecastFunction, quorumsFunction].map((made) => made(configured)),
    configure(config, project, cancelled) {
      workshop = new Workshop(config, project, cancelled);
      opened.add(workshop);
    },
    async close() {
      const closing = [...opened];
      opened.clear();
      workshop = undefined;
      for (const each of closing) await each.close();
    },
  };
}
