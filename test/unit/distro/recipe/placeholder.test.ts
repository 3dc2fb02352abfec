import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { expandPlaceholders, PlaceholderError, versionForms } from "../../../../distro/recipe/placeholder.ts";

describe("versionForms", () => {
  test("derives every form", () => {
    expect(versionForms("1.2.3-rc.1")).toEqual({
      version: "1.2.3-rc.1",
      version_under: "1_2_3-rc_1",
      version_dash: "1-2-3-rc-1",
      version_major: "1",
      version_major_minor: "1.2",
      version_strip_suffix: "1.2.3",
    });
  });

  test('derives the major.minor "None" from a one-part version, as StageX does', () => {
    expect(versionForms("20240101").version_major_minor).toBe("None");
  });

  test("replaces the dots by dashes or underscores, and takes the start as the major", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-z]{1,4}(\.[0-9a-z]{1,4}){0,4}$/), (version) => {
        const forms = versionForms(version);
        expect(forms.version_under.replaceAll("_", ".")).toBe(version);
        expect(forms.version_dash.replaceAll("-", ".")).toBe(version);
        expect(version.startsWith(forms.version_major)).toBe(true);
      }),
    );
  });
});

describe("expand", () => {
  test("replaces each placeholder, and doubled braces by single ones", () => {
    expect(expandPlaceholders("a-{version}.{format}{{x}}", { version: "1", format: "tgz" })).toBe(
      "a-1.tgz{x}",
    );
  });

  test.each(["{nothing}", "{}", "{0}", "{version!r}", "{version:>9}", "{toString}", "{", "}", "{version"])(
    "rejects %s",
    (template) => {
      expect(() => expandPlaceholders(template, { version: "1" })).toThrow(PlaceholderError);
    },
  );

  test("keeps text without braces, and expands values once only", () => {
    const plain = fc.string().filter((text) => !/[{}]/.test(text));
    fc.assert(
      fc.property(plain, plain, fc.string(), (before, after, value) => {
        expect(expandPlaceholders(before, { value })).toBe(before);
        expect(expandPlaceholders(`${before}{value}${after}`, { value })).toBe(before + value + after);
      }),
    );
  });
});
