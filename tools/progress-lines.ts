import { type Printable, printable } from "../lib/text/printable.ts";
import { errorScreen, printError, redrawLine, type Screen } from "../lib/text/terminal.ts";

/** Between two updates of a terminal's line, and between two lines of a log; in milliseconds. */
const terminalInterval = 1_000;
const logInterval = 15_000;

/** `63 s`, or `3 min 43 s`. */
export function formatElapsed(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/**
 * Shows the steps of a long operation with their time: `[2/5] building buildkitd v0.34.2 … 63 s`. A
 * terminal has one line that is updated, a log a line every 15 s.
 */
export class ProgressLines {
  readonly #screen: Screen;
  readonly #total: number;
  #number = 0;

  /**
   * @param total how many steps there are; 0 where unknown: then they have no numbers
   */
  constructor(total: number, screen: Screen = errorScreen) {
    this.#total = total;
    this.#screen = screen;
  }

  /**
   * Does the work and shows it; the work reports its details through `note`. Errors pass through.
   */
  async step<T>(label: string, work: (note: (detail: string) => void) => Promise<T>): Promise<T> {
    this.#number += 1;
    const title = this.#total > 0 ? `[${this.#number}/${this.#total}] ${label}` : label;
    const started = Date.now();
    let detail = "";
    const line = (): Printable => {
      const elapsed = printable`${title} … ${formatElapsed(Date.now() - started)}`;
      return detail === "" ? elapsed : printable`${elapsed}, ${detail}`;
    };
    const show = () =>
      this.#screen.isTTY ? redrawLine(line(), this.#screen) : printError(line(), this.#screen);
    if (this.#screen.isTTY) show();
    else printError(printable`${title} …`, this.#screen);
    const timer = setInterval(show, this.#screen.isTTY ? terminalInterval : logInterval);
    const end = (word: string) => {
      clearInterval(timer);
      if (this.#screen.isTTY) redrawLine(printable``, this.#screen);
      printError(printable`${title}: ${word} ${formatElapsed(Date.now() - started)}`, this.#screen);
    };
    try {
      const result = await work((text) => {
        detail = text;
      });
      end("done in");
      return result;
    } catch (error) {
      end("failed after");
      throw error;
    }
  }
}
