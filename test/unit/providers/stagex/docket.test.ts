import { expect, test } from "vitest";
import { Docket, type Entry } from "../../../../providers/stagex/quorum/docket.ts";

const shortfall = { people: 1, vendors: 0, signatures: 1, by: ["bob"], on: [] };
const outputs = { people: 1, vendors: 1, accepted: [], rejected: [], words: "1 of 2 people (alice)" };
const below = (wasMet: boolean): Entry => ({ outputs: { ...outputs, met: false }, shortfall, wasMet });
const met: Entry = { outputs: { ...outputs, met: true }, wasMet: true };

test("images below quorum are counted, those apart that were at quorum before, and alike needs put together", () => {
  const docket = new Docket();
  docket.note("core-b", below(true));
  docket.note("core-a", below(false));
  docket.note("core-c", met);
  expect(docket.summary()).toEqual({
    pending: { "core-a": "1 of 2 people (alice)", "core-b": "1 of 2 people (alice)" },
    fallen: ["core-b"],
    signatures: 2,
    text: [
      "2 of 3 images judged are below quorum, 1 of which were at quorum before.",
      "The least that must be signed: 2 signatures.",
      "  2 images need 1 more person (bob)",
    ].join("\n"),
  });
});

test("of an image that is judged again what was found last counts, and whether it was met at first", () => {
  const docket = new Docket();
  docket.note("core-a", below(true));
  docket.note("core-a", below(false));
  expect(docket.summary().fallen).toEqual(["core-a"]);
  docket.note("core-a", met);
  expect(docket.summary()).toMatchObject({ pending: {}, fallen: [], signatures: 0 });
});
