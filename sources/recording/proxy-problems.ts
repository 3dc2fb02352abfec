import { refusalText } from "./proxy-request.ts";

/** The number of problems that are kept to be named. */
const maxNamed = 20;

/** The problems of one proxy, bounded: requests without an answer, and rejected requests. */
export class ProxyProblems {
  /** By subject, so that a later answer to a request removes its problem. */
  readonly #problems = new Map<string, string>();
  readonly #refusals = new Set<string>();
  /**
   * The number of problems beyond those that are kept. A later answer can't remove one of these.
   */
  #unnamed = 0;

  /**
   * Adds a problem.
   * @param subject the request whose later answer removes the problem; by default the text, which
   *   stays
   */
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

  /** Returns each problem in words, and the number of further ones. */
  get texts(): readonly string[] {
    const more = this.#unnamed > 0 ? [`and ${this.#unnamed} more`] : [];
    return [...this.#problems.values(), ...more];
  }

  get refusalTexts(): readonly string[] {
    return [...this.#refusals].map((request) => `${request}: ${refusalText}`);
  }
}
