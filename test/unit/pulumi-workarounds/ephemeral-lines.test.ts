import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EphemeralLines } from "../../../pulumi-workarounds/ephemeral-lines.ts";

let shown: string[];
let lines: EphemeralLines;

beforeEach(() => {
  vi.useFakeTimers();
  shown = [];
  lines = new EphemeralLines({
    log: (severity, message, at) => shown.push(`${severity} ${at?.urn} ${at?.ephemeral} ${message}`),
  });
});

afterEach(() => {
  vi.useRealTimers();
});

test("shows the last of lines in quick succession, and later lines after it", () => {
  for (const line of ["one", "two", "three"]) lines.show("a", line);
  lines.show("b", "other");
  expect(shown).toEqual([]);
  vi.advanceTimersByTime(250);
  expect(shown).toEqual(["info a true three", "info b true other"]);
  lines.show("a", "four");
  vi.advanceTimersByTime(250);
  expect(shown.slice(2)).toEqual(["info a true four"]);
});

test("drops the line of a resource that is done before it was shown", () => {
  lines.show("a", "storing the image");
  lines.show("b", "other");
  lines.end("a", true);
  vi.advanceTimersByTime(1000);
  expect(shown).toEqual(["info b true other"]);
});

test("replaces a shown line by done, unless the resource failed", () => {
  for (const urn of ["made", "failed"]) lines.show(urn, "storing the image");
  vi.advanceTimersByTime(250);
  lines.show("made", "never shown");
  lines.end("made", true);
  lines.end("failed", false);
  vi.advanceTimersByTime(1000);
  expect(shown.slice(2)).toEqual(["info made true done"]);
  lines.end("made", true);
  expect(shown).toHaveLength(3);
});
