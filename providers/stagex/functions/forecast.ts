import { z } from "zod";
import { fleetsToPrice, plannedSlots } from "../../../config/fleet-plan.ts";
import type { StagexConfig } from "../../../config/schema.ts";
import { formatCosts, formatMachines, type RunCost } from "../../../distro/plan/cost.ts";
import { shortenList } from "../../../lib/text/shortened-list.ts";
import type { Context } from "../../../pipeline/context/context.ts";
import { formatComparison } from "../../../pipeline/context/preview-forecast.ts";
import { type ForecastOutputs, forecastOutputs } from "../../../pipeline/forecast-outputs.ts";
import { mayFetch } from "../../../pipeline/package/network-access.ts";
import type { FunctionHandler } from "../protocol/handler.ts";

/**
 * Handles `stagex:index:forecast`: sums up the preview so far. Programs invoke it once every
 * package is registered.
 */
export function forecastFunction(context: () => Context): FunctionHandler {
  return {
    token: "stagex:index:forecast",
    description:
      "Sums up the current preview: the images that will or may be built, how long it takes, and the causes.",
    inputs: z.strictObject({}),
    outputs: forecastOutputs,
    async call() {
      const opened = context();
      const { forecast, text } = await opened.previewForecast.forecast(
        opened.ledger,
        plannedSlots(opened.config),
      );
      const costs = await costsOf(opened, forecast.guessed);
      const comparison = opened.previewForecast.publishedComparison();
      const fetching = await fetchingOf(opened);
      const lines = [
        text,
        opened.previewForecast.missingExportsText(),
        witnessText(opened.config),
        ...[formatComparison(comparison), ...fetchText(fetching), costs?.text],
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
          ? { newImages: [...comparison.changed], mayBeNew: comparison.undecided, held: comparison.held }
          : {}),
        fetching,
        ...(costs ? { costs: costs.costs } : {}),
        text: lines.filter((line) => line !== undefined).join("\n"),
      };
    },
  };
}

async function fetchingOf(context: Context): Promise<string[]> {
  const { imagesToBuild } = context.previewForecast;
  if (imagesToBuild.length === 0) return [];
  const { images } = await context.tree();
  return imagesToBuild.filter((name) => {
    const plan = images.get(name);
    return plan !== undefined && mayFetch(context.config, plan);
  });
}

function witnessText({ reproduceOn = [] }: StagexConfig): string | undefined {
  if (reproduceOn.length < 2) return undefined;
  return `Each is built ${reproduceOn.length} times, on ${reproduceOn.join(" and ")}, but for what the ledger has of them.`;
}

/** The most images to name: a release has some 60 that fetch. */
const mostNamed = 100;

function fetchText(fetching: readonly string[]): string[] {
  if (fetching.length === 0) return [];
  return [`${fetching.length} fetch in a RUN: ${shortenList(fetching, mostNamed)}`];
}

/**
 * Returns the costs by the configured prices; undefined without prices, or if nothing has to be
 * built.
 */
async function costsOf(
  context: Context,
  modelled: number,
): Promise<Required<Pick<ForecastOutputs, "costs" | "text">> | undefined> {
  const { config, previewForecast: outlook } = context;
  const { prices } = config;
  if (prices === undefined) return undefined;
  const costs = outlook.costs(await context.expectations(), fleetsToPrice(config, prices), prices);
  if (costs.length === 0) return undefined;
  const shown = ({ machines, atOnce, hours, price }: RunCost) => ({
    builders: formatMachines(machines),
    imagesAtOnce: atOnce,
    ...(hours === null ? {} : { hours: rounded(hours) }),
    ...(price === null ? {} : { price: rounded(price) }),
    ...{ currency: prices.currency, pricesOf: prices.date },
  });
  return { costs: costs.map(shown), text: formatCosts(costs, prices, modelled) };
}

/** Rounds to two places, as in the text: a forecast is no more exact. */
function rounded(amount: number): number {
  return Number(amount.toFixed(2));
}
