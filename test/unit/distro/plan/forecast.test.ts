import { expect, test } from "vitest";
import { type ForecastImage, forecastRun } from "../../../../distro/plan/forecast.ts";
import { formatForecast } from "../../../../distro/plan/forecast-text.ts";

const image = (
  verdict: ForecastImage["status"],
  dependencies: string[],
  seconds: number | null,
): ForecastImage => ({
  status: verdict,
  dependencies,
  seconds,
});

/**
 * a (1 s) is built into b (2 s) and c (5 s), both into d (1 s); e stands alone and is unchanged.
 */
const diamond = new Map([
  ["a", image("will", [], 1)],
  ["b", image("may", ["a"], 2)],
  ["c", image("may", ["a"], 5)],
  ["d", image("may", ["b", "c"], 1)],
  ["e", image("unchanged", [], 100)],
]);

test("counts the images by status", () => {
  expect(forecastRun(diamond, 2).counts).toEqual({ will: 1, may: 3, ledger: 0, unchanged: 1 });
});

test("builds b and c at once on two slots, and in turn on one", () => {
  expect(forecastRun(diamond, 2).seconds).toBe(7);
  expect(forecastRun(diamond, 1).seconds).toBe(9);
});

test("takes the longest chain of builds as the critical path", () => {
  expect(forecastRun(diamond, 8).criticalPath).toEqual({ images: ["a", "c", "d"], seconds: 7 });
});

test("names the image with a changed input as the cause, with its dependents", () => {
  expect(forecastRun(diamond, 2).causes).toEqual([{ image: "a", dependents: 3 }]);
});

test("does not wait for a dependency that is not built", () => {
  const images = new Map([
    ["a", image("ledger", [], 50)],
    ["b", image("will", ["a"], 3)],
  ]);
  expect(forecastRun(images, 1)).toMatchObject({ seconds: 3, criticalPath: { images: ["b"], seconds: 3 } });
});

test("takes the median for images without a record, and counts them", () => {
  const images = new Map([
    ["a", image("will", [], 4)],
    ["b", image("will", ["a"], null)],
  ]);
  expect(forecastRun(images, 1)).toMatchObject({ seconds: 8, guessed: 1 });
});

test("gives no time where most images have no record", () => {
  const found = forecastRun(new Map([["a", image("will", [], null)]]), 1);
  expect(found.seconds).toBeNull();
  expect(formatForecast(found, 1)).toBe(
    "1 will build, 0 may be cut off, 0 from the ledger, 0 unchanged.\nHow long it takes is not known: of 1 of them nobody has recorded it.",
  );
});

test("formats the forecast", () => {
  expect(formatForecast(forecastRun(diamond, 2), 2)).toBe(
    [
      "1 will build, 3 may be cut off, 0 from the ledger, 1 unchanged.",
      "If all are built: about 7.0 s on 2 build slots.",
      "Critical path, 7.0 s: a > c > d",
      "Most is caused by a (3 images).",
    ].join("\n"),
  );
  expect(formatForecast(forecastRun(new Map([["e", image("unchanged", [], 1)]]), 2), 2)).toBe(
    "0 will build, 0 may be cut off, 0 from the ledger, 1 unchanged.",
  );
});

test("forecasts a chain of 10,000 images without a stack overflow", () => {
  const chain = new Map<string, ForecastImage>();
  for (let number = 0; number < 10_000; number++) {
    chain.set(
      `image-${number}`,
      image(number === 0 ? "will" : "may", number === 0 ? [] : [`image-${number - 1}`], 1),
    );
  }
  expect(forecastRun(chain, 4)).toMatchObject({
    seconds: 10_000,
    causes: [{ image: "image-0", dependents: 9_999 }],
  });
});
