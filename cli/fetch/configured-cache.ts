import { type ConfigValues, parseConfig, type StagexConfig } from "../../config/schema.ts";
import { pathsOf } from "../../lib/paths.ts";
import { openVault } from "../../pipeline/context/open-vault.ts";
import { SourceCache } from "../../sources/source-cache.ts";
import { provideTools } from "../../tools/tool-resolver.ts";
import { printConfigWarnings } from "../engine/config-warnings.ts";
import { provideEngine } from "../engine/provide-engine.ts";
import { Stack } from "../engine/stack.ts";
import { asUsageError } from "../output/exit-code.ts";

export type CacheOptions = {
  readonly stack?: string;
  readonly vault?: string;
  readonly httpsOnly?: true;
  readonly softwareHeritage: boolean;
};

/**
 * Opens the cache of sources with the places of a stack's configuration or of the command line.
 * Only a stack needs the engine.
 * @throws CommandError where the configuration is invalid
 */
export async function openConfiguredCache(options: CacheOptions): Promise<SourceCache> {
  const paths = pathsOf();
  const { sources, vault } = await settings(options);
  const client = async (): Promise<string> =>
    (await provideTools(["registry-client"])).get("registry-client")?.path ?? "";
  return await SourceCache.open(paths.sources, {
    httpsOnly: sources.httpsOnly || options.httpsOnly === true,
    softwareHeritage: sources.softwareHeritage && options.softwareHeritage,
    vault: openVault(vault, { paths, client }),
  });
}

async function settings({ stack, vault }: CacheOptions): Promise<Pick<StagexConfig, "sources" | "vault">> {
  const config =
    stack === undefined ? {} : await new Stack(stack, await provideEngine(false), pathsOf()).getConfig();
  if (stack !== undefined) printConfigWarnings(stack, config);
  const { sources, vault: configured } = config;
  const asked = { sources, vault: vault ?? configured };
  try {
    return parseConfig(asked as ConfigValues);
  } catch (error) {
    throw asUsageError(error);
  }
}
