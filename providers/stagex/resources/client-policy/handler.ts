import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { readRegularFile } from "../../../../lib/fs/regular-file.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import {
  type ClientPolicy,
  createClientPolicy,
  writeClientPolicy,
} from "../../../../trust/client-policy/podman-policy.ts";
import { TrustError } from "../../../../trust/trust-error.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { ResourceHandler } from "../../protocol/handler.ts";
import {
  type ClientPolicyInputs,
  type ClientPolicyOutputs,
  clientPolicyDefinition,
  clientPolicyInputs,
} from "./definition.ts";

const rules = { ignored: [], replacing: ["folder"] };

/**
 * Handles `stagex:index:ClientPolicy`, the files with which clients require t of n people
 * (trust/client-policy/podman-policy.ts).
 */
export function clientPolicyHandler(context: () => Context): ResourceHandler<typeof clientPolicyDefinition> {
  const placeOf = (folder: string): string => resolve(context().paths.project, folder);

  async function policyOf(inputs: ClientPolicyInputs): Promise<ClientPolicy> {
    const { folder, repository, signedAs, lookaside, threshold } = inputs;
    const { roster, keyring } = await context().trust();
    const asked = {
      ...{ roster, keyring, threshold, repository },
      ...(signedAs === undefined ? {} : { signedAs }),
      ...(lookaside === undefined ? {} : { lookaside: addressOf(lookaside, placeOf(lookaside)) }),
    };
    return createClientPolicy(asked, placeOf(folder));
  }

  async function write(inputs: ClientPolicyInputs, operation: Operation): Promise<ClientPolicyOutputs> {
    const policy = await policyOf(inputs);
    const folder = placeOf(inputs.folder);
    await requireOwn(folder, inputs.folder);
    await writeClientPolicy(policy, folder);
    const { peopleWithoutKeys: without } = policy;
    if (without.length > 0)
      operation.report("warning", `no key found for ${without.join(", ")}: their signatures do not count`);
    return outputsOf(policy);
  }

  return {
    ...clientPolicyDefinition,

    check: () => [],

    diff: (before, after) => detailedDiff(before, after, rules),

    async preview(plan, _isNew, operation) {
      const inputs = clientPolicyInputs.safeParse(plan).data;
      if (!inputs) return {};
      try {
        return outputsOf(await policyOf(inputs));
      } catch (error) {
        if (!(error instanceof TrustError)) throw error;
        // The preview goes on, to show what else fails with a roster that is too small.
        operation.report("warning", `${inputs.folder} will fail: ${error.message}`);
        return {};
      }
    },

    create: async (inputs, operation) => ({ id: inputs.folder, outputs: await write(inputs, operation) }),

    update: (_id, inputs, operation) => write(inputs, operation),

    async read(id, state, operation) {
      if (!state) throw new Error(`${id}: a client policy cannot be imported; it is written from the roster`);
      const { files } = await policyOf(state.inputs);
      const altered: string[] = [];
      for (const [file, content] of files) {
        const written = Buffer.from(content);
        const found = await readRegularFile(join(placeOf(id), file), written.length).catch(() => undefined);
        if (!found?.equals(written)) altered.push(file);
      }
      if (altered.length === 0) return state;
      operation.report(
        "warning",
        `${id}: these files differ from the roster: ${altered.join(", ")}; the next up writes them`,
      );
      return undefined;
    },

    async delete(id, outputs) {
      const folder = placeOf(id);
      const files = outputs?.files ?? [];
      for (const file of files) await rm(join(folder, file), { force: true });
      const folders = new Set(files.map((file) => dirname(join(folder, file))));
      for (const one of [...folders].sort().reverse()) await rmdir(one).catch(() => {});
    },
  };
}

function outputsOf({
  files,
  people,
  peopleWithoutKeys: without,
  requirements,
}: ClientPolicy): ClientPolicyOutputs {
  return { files: [...files.keys()], people: [...people], without: [...without], requirements };
}

/**
 * Requires a folder of the policy's own: keyrings of an earlier policy are deleted with their
 * folder.
 */
async function requireOwn(folder: string, name: string): Promise<void> {
  const found = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [] as string[];
    throw error;
  });
  if (found.length === 0 || found.includes("policy.json")) return;
  throw new Error(`${name} has files that are no policy; give the client policy a folder of its own`);
}

function addressOf(lookaside: string, place: string): string {
  return /^(https?|file):/.test(lookaside) ? lookaside : pathToFileURL(place).href;
}
