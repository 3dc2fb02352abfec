import { localEnvironment, runGit } from "./git.ts";

/**
 * A repository's own settings, by their names in `git config --list`; of several values the last
 * one.
 */
export type GitConfig = ReadonlyMap<string, string>;

/**
 * The configurations parsed so far, by their text: one command reads a repository several times.
 */
const known = new Map<string, Promise<GitConfig>>();

/**
 * Parses the text of a configuration file as git does (git-config(1), "CONFIGURATION FILE").
 * Included files are not read, and no command in it is run.
 * @throws GitError where the text is invalid
 */
export function parseGitConfig(text: string): Promise<GitConfig> {
  const plain = parsePlainConfig(text);
  if (plain !== undefined) return Promise.resolve(plain);
  const parsed = known.get(text) ?? askGit(text);
  known.set(text, parsed);
  parsed.catch(() => known.delete(text));
  return parsed;
}

const sectionLine = /^\[([a-z][a-z0-9-]*)(?: "([^"\\\r]*)")?\]$/i;
const settingLine = /^[\t ]*([a-z][a-z0-9-]*)(?: = ([^\s"\\#;](?:[^"\\#;\r\t]*[^\s"\\#;])?))?$/i;

/**
 * Parses a configuration in the form that git itself writes, where nothing is quoted, escaped,
 * continued or commented. Starting git would take longer than the rest of a short command.
 * @returns undefined for any other text, which git must parse
 */
export function parsePlainConfig(text: string): GitConfig | undefined {
  const settings = new Map<string, string>();
  let section: string | undefined;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, name, subsection] = sectionLine.exec(line) ?? [];
    if (name !== undefined) {
      section = `${name.toLowerCase()}${subsection === undefined ? "" : `.${subsection}`}`;
      continue;
    }
    const [, key, value = "true"] = settingLine.exec(line) ?? [];
    if (key === undefined || section === undefined || line.includes("\0")) return undefined;
    settings.set(`${section}.${key.toLowerCase()}`, value);
  }
  return settings;
}

async function askGit(text: string): Promise<GitConfig> {
  const listed = await runGit(["config", "--file", "-", "--no-includes", "--list", "-z"], {
    folder: "/",
    environment: localEnvironment("/dev/null/none", null),
    input: text,
  });
  const entries = listed.toString().split("\0").slice(0, -1);
  return new Map(
    entries.map((entry) => {
      const end = entry.indexOf("\n");
      // A name without a value is true.
      return end < 0 ? [entry, "true"] : [entry.slice(0, end), entry.slice(end + 1)];
    }),
  );
}

/** Returns whether a setting is on; `otherwise` where there is none. */
export function isSettingOn(config: GitConfig, name: string, otherwise: boolean): boolean {
  const value = config.get(name);
  return value === undefined ? otherwise : !/^(false|no|off|0|)$/i.test(value);
}
