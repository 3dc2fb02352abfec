import { z } from "zod";
import { fleetsToPrice, plannedSlots } from "../../../config/fleet-plan.ts";
import type { StagexConfig } from "../../../config/schema.ts";
import { type Cost, costText, machinesText } from "../../../distro/plan/cost.ts";
import { shortenedList } from "../../../lib/text/shortened-list.ts";
import type { Context } from "../../../pipeline/context/context.ts";
import { comparisonText } from "../../../pipeline/context/preview-forecast.ts";
import { mayFetch } from "../../../pipeline/package/network-access.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

const count = z.int().nonnegative();

/** What a preview comes to (distro/plan/forecast.ts), and the same in words. */
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

/** `stagex:index:forecast`: sums up the preview so far. Meant to be invoked when every package has been registered. */
export function forecastFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:forecast",
    description:
      "What the preview that is under way comes to: what will and may be built, for how long, and what causes it.",
    inputs: z.strictObject({}),
    outputs: forecastOutputs,
    async call() {
      const opened = context();
      const { forecast, text } = await opened.outlook.forecast(opened.ledger, plannedSlots(opened.config));
      const costs = await costsOf(opened, forecast.guessed);
      const comparison = opened.outlook.comparison();
      const fetching = await fetchingOf(opened);
      const lines = [
        text,
        opened.outlook.missingText(),
        witnessText(opened.config),
        ...[comparisonText(comparison), ...fetchText(fetching), costs?.text],
      ];
      return {
        willBuild: forecast.counts.will,
        mayBuild: forecast.counts.may,
        fromLedger: forecast.counts.ledger,
        unchanged: forecast.counts.unchanged,
        ...(forecast.seconds === null
          ? {}
          : { seconds: forecast.seconds, criticalSeconds: forecast.criticalPath.seconds }),
        criticalPath: [...forecast.criticalPath.images],
        causes: forecast.causes.map(({ image, dependents }) => `${image} (${dependents})`),
        ...(opened.config.verify
          ? { newImages: [...comparison.changed], mayBeNew: comparison.open, held: comparison.held }
          : {}),
        fetching,
        ...(costs ? { costs: costs.costs } : {}),
        text: lines.filter((line) => line !== undefined).join("\n"),
      };
    },
  };
}

async function fetchingOf(context: Context): Promise<string[]> {
  const { work: operation } = context.outlook;
  if (operation.length === 0) return [];
  const { images } = await context.tree();
  return operation.filter((name) => {
    const plan = images.get(name);
    return plan !== undefined && mayFetch(context.config, plan);
  });
}

function witnessText({ reproduceOn = [] }: StagexConfig): string | undefined {
  if (reproduceOn.length < 2) return undefined;
  return `Each is built ${reproduceOn.length} times, on ${reproduceOn.join(" and ")}, but for what the ledger has of them.`;
}

/** How many are named: a release has some 60. */
const mostNamed = 100;

function fetchText(fetching: readonly string[]): string[] {
  if (fetching.length === 0) return [];
  return [`${fetching.length} fetch in a RUN: ${shortenedList(fetching, mostNamed)}`];
}

/** What it costs by the configured prices; undefined without them, or where nothing is to be built. */
async function costsOf(
  context: Context,
  modelled: number,
): Promise<Required<Pick<ForecastOutputs, "costs" | "text">> | undefined> {
  const { config, outlook } = context;
  const { prices } = config;
  if (prices === undefined) return undefined;
  const costs = outlook.costs(await context.expectations(), fleetsToPrice(config, prices), prices);
  if (costs.length === 0) return undefined;
  const shown = ({ machines, atOnce, hours, price }: Cost) => ({
    builders: machinesText(machines),
    imagesAtOnce: atOnce,
    ...(hours === null ? {} : { hours: rounded(hours) }),
    ...(price === null ? {} : { price: rounded(price) }),
    ...{ currency: prices.currency, pricesOf: prices.date },
  });
  return { costs: costs.map(shown), text: costText(costs, prices, modelled) };
}

/** To two places, as the text has it: what is foretold is no more exact. */
function rounded(amount: number): number {
  return Number(amount.toFixed(2));
}
