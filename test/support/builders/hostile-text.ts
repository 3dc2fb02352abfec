import { expect } from "vitest";

/**
 * A text with everything that may harm a terminal, the log of a CI system or Pulumi's display. It
 * has titles, clearing, C1 controls, right-to-left, line breaks, annotations of GitHub and Azure,
 * sections of GitLab, and colours unknown to Pulumi.
 */
export const hostileText =
  "\u001b]0;owned\u0007\u001b[2J\u009b2J\u202eevil\u2028\r\nFORGED\n::error::FORGED\n \u00a0::warning::FORGED\n##[error]FORGED\n##vso[task.complete]FORGED\n\u001b[0Ksection_start:0:FORGED\r\u001b[0K<{%FORGED%}>";

/** The same text as a file name. */
export const hostileName = hostileText.replaceAll("/", "_");

/** Expects a printed text to be harmless. */
export function expectHarmless(text: string): void {
  const found = [
    ...text.matchAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu),
    ...text.matchAll(/^[^\S\n]*(?:FORGED|::).*$/gm),
    ...text.matchAll(/##[a-z]*\[.*$/gim),
    ...text.matchAll(/<\{%.*$/gm),
  ].map(([match]) => match);
  expect(found).toEqual([]);
}
