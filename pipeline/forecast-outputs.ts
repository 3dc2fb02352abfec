import { z } from "zod";

const count = z.int().nonnegative();

/** The forecast of a preview (distro/plan/forecast.ts), as values and as text. */
export const forecastOutputs = z.object({
  willBuild: count.describe(
    "Images with a changed input of their own, of which nobody has recorded the outcome.",
  ),
  mayBuild: count.describe("Images that are built only if what they are built from changes."),
  fromLedger: count.describe("Images whose changed inputs the ledger knows."),
  unchanged: count,
  seconds: z
    .number()
    .optional()
    .describe("Predicted, if all that may be built is; not there where nobody has recorded any time."),
  criticalPath: z.array(z.string()).describe("The chain of builds that no number of builders shortens."),
  criticalSeconds: z
    .number()
    .optional()
    .describe("Predicted for that chain; not there where `seconds` is not."),
  causes: z
    .array(z.string())
    .describe("The images that cause most, with the number of images that each takes along."),
  newImages: z
    .array(z.string())
    .optional()
    .describe(
      "Images whose inputs are not those that their published digests are of, so that any digest will do.",
    ),
  mayBeNew: count
    .optional()
    .describe("Images that are new if something that they are built from comes out with another digest."),
  held: count.optional().describe("Images that must come out with their published digests."),
  fetching: z
    .array(z.string())
    .describe("Those of the images to build whose recipes fetch in a RUN, by way of a proxy that records."),
  costs: z
    .array(
      z.object({
        builders: z.string().describe("Such as 2 m8i.4xlarge."),
        imagesAtOnce: count,
        hours: z.number().optional().describe("Not there where most durations are not known."),
        price: z.number().optional().describe("Not there where the hours or a price are not known."),
        currency: z.string(),
        pricesOf: z.string().describe("The day of the prices."),
      }),
    )
    .optional()
    .describe("What it costs to build all that may be built, on the configured fleet and on others."),
  text: z.string().describe("All of it, for people."),
});
export type ForecastOutputs = z.infer<typeof forecastOutputs>;
