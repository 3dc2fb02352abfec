import { z } from "zod";

const count = z.int().nonnegative();

/** The forecast of a preview (distro/plan/forecast.ts), as values and as text. */
export const forecastOutputs = z.object({
  willBuild: count.describe("Images with a changed input of their own that the ledger does not know."),
  mayBuild: count.describe("Images that are built only if a dependency changes."),
  fromLedger: count.describe("Images whose changed inputs the ledger knows."),
  unchanged: count,
  seconds: z
    .number()
    .optional()
    .describe("Predicted seconds to build all of them. Missing where no time is recorded."),
  criticalPath: z.array(z.string()).describe("Chain of builds that more builders do not shorten."),
  criticalSeconds: z
    .number()
    .optional()
    .describe("Predicted seconds of that chain. Missing where `seconds` is."),
  causes: z
    .array(z.string())
    .describe("Images that cause most builds, with the number of their dependents to build."),
  newImages: z
    .array(z.string())
    .optional()
    .describe("Images with other inputs than those of their published digests, so any digest is accepted."),
  mayBeNew: count.optional().describe("Images that are new if a dependency gets another digest."),
  held: count.optional().describe("Images that must have their published digests."),
  fetching: z
    .array(z.string())
    .describe("Images to build whose recipes fetch in a RUN, through a recording proxy."),
  costs: z
    .array(
      z.object({
        builders: z.string().describe("Such as 2 m8i.4xlarge."),
        imagesAtOnce: count,
        hours: z.number().optional().describe("Missing where most durations are unknown."),
        price: z.number().optional().describe("Missing where the hours or a price is unknown."),
        currency: z.string(),
        pricesOf: z.string().describe("Date of the prices."),
      }),
    )
    .optional()
    .describe("Cost of building all of them, on the configured fleet and on others."),
  text: z.string().describe("The whole forecast as text."),
});
export type ForecastOutputs = z.infer<typeof forecastOutputs>;
