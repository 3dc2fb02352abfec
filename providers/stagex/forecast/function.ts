import { z } from "zod";
import type { FunctionHandler } from "../handler.ts";
import type { Workshop } from "../workshop.ts";

const count = z.int().nonnegative();

/** What a preview comes to (distro/forecast.ts), and the same in words. */
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
  criticalSeconds: z.number(),
  causes: z
    .array(z.string())
    .describe("The images that cause most, with the number of images that each takes along."),
  text: z.string().describe("All of it, for people."),
});
export type ForecastOutputs = z.infer<typeof forecastOutputs>;

/** `stagex:index:forecast`: sums up the preview so far. Meant to be invoked when every package has been registered. */
export function forecastFunction(workshop: () => Workshop): FunctionHandler {
  return {
    token: "stagex:index:forecast",
    description:
      "What the preview that is under way comes to: what will and may be built, for how long, and what causes it.",
    inputs: z.strictObject({}),
    outputs: forecastOutputs,
    async call() {
      const { outlook, ledger, fleet } = workshop();
      const { forecast, text } = await outlook.forecast(ledger, fleet.slots);
      return {
        willBuild: forecast.counts.will,
        mayBuild: forecast.counts.may,
        fromLedger: forecast.counts.ledger,
        unchanged: forecast.counts.unchanged,
        ...(forecast.seconds === null ? {} : { seconds: forecast.seconds }),
        criticalPath: [...forecast.criticalPath.images],
        criticalSeconds: forecast.criticalPath.seconds,
        causes: forecast.causes.map(({ image, dependents }) => `${image} (${dependents})`),
        text,
      };
    },
  };
}
