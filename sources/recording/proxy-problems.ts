import { refusalText } from "./proxy-request.ts";

/** The number of problems that are kept to be named. */
const maxNamed = 20;

/** The problems of one proxy, bounded: requests without an answer, and requests that were refused. */
export class ProxyProblems {
  /** By subject, so that a request that is answered at last is none. */
  readonly #problems = new Map<string, string>();
  readonly #refusals = new Set<string>();
  /** Problems beyond those that are kept: none of them can be answered any more. */
  #unnamed = 0;

  /** @param subject what is no problem once it is answered; the text itself where nothing settles it */
  add(text: string, subject: string = text): void {
    if (this.#problems.size < maxNamed || this.#problems.has(subject)) this.#problems.set(subject, text);
    else this.#unnamed++;
  }

  /** Removes the problem of a request that has been answered. */
  settle(subject: string): void {
    this.#problems.delete(subject);
  }

  addRefusal(request: string): void {
    if (this.#refusals.size < maxNamed) this.#refusals.add(request);
  }

  /** Each problem in words, and the number of further ones. */
  get texts(): readonly string[] {
    const more = this.#unnamed > 0 ? [`and ${this.#unnamed} more`] : [];
    return [...this.#problems.values(), ...more];
  }

  get refusalTexts(): readonly string[] {
    return [...this.#refusals].map((request) => `${request}: ${refusalText}`);
  }
}
