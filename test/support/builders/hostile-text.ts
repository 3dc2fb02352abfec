import { expect } from "vitest";

/**
 * A text that does all that others' text may do to a terminal, to a CI system's log and to Pulumi's display: titles, clearing, C1
 * controls, right-to-left, lines of its own, annotations of GitHub and Azure, sections of GitLab, colours that Pulumi does not know.
 */
export const hostileText =
  "\u001b]0;owned\u0007\u001b[2J\u009b2J\u202eevil\u2028\r\nFORGED\n::error::FORGED\n \u00a0::warning::FORGED\n##[error]FORGED\n##vso[task.complete]FORGED\n\u001b[0Ksection_start:0:FORGED\r\u001b[0K<{%FORGED%}>";

/** The same as a file's name. */
export const hostileName = hostileText.replaceAll("/", "_");

/** Expects that a text that was printed or shown does none of it. */
export function expectHarmless(text: string): void {
  const found = [
    ...text.matchAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu),
    ...text.matchAll(/^[^\S\n]*(?:FORGED|::).*$/gm),
    ...text.matchAll(/##[a-z]*\[.*$/gim),
    ...text.matchAll(/<\{%.*$/gm),
  ].map(([match]) => match);
  expect(found).toEqual([]);
}
