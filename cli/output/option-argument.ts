import { InvalidArgumentError, Option } from "commander";

/** Wraps a parser for Commander, which shows messages of its own error class only. */
export function argumentParser<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };
}

/** Returns an option that takes a whole number, such as `--threshold <people>`. */
export function countOption(flags: string, description: string, value: number, least = 0): Option {
  const whole = (text: string) => {
    if (!/^[0-9]{1,4}$/.test(text) || Number(text) < least)
      throw new Error(`not a number of ${flags}: ${JSON.stringify(text)}`);
    return Number(text);
  };
  return new Option(flags, description).default(value).argParser(argumentParser(whole));
}
