import { basename } from "node:path";
import type { CheckFailure } from "../../../../config/check-failures.ts";
import type { Digest } from "../../../../oci/digest.ts";
import {
  parseRegistryAddress,
  type RegistryAddress,
  repositoryIn,
} from "../../../../oci/registry/registry-address.ts";
import type { Context } from "../../../../pipeline/context/context.ts";
import type { Operation } from "../../../../pipeline/operation.ts";
import {
  copySignatures,
  copyStatements,
  findMissingCopies,
  findUncopiedStatements,
  requireQuorum,
} from "../../../../pipeline/publication/copy-signatures.ts";
import { ensureStored, tagTargetOf } from "../../../../pipeline/publication/ensure-stored.ts";
import {
  type PublicationInputs,
  type PublicationOutputs,
  type PublicationPreview,
  publicationInputs,
  publicationOutputs,
} from "../../../../pipeline/publication/inputs.ts";
import { isMovingTag, orderTags } from "../../../../pipeline/publication/tags.ts";
import { TargetRegistry } from "../../../../pipeline/publication/target-registry.ts";
import { statementReferrers } from "../../../../pipeline/statements/attach-statements.ts";
import { parseTaggedReference, repositoryOf } from "../../../../trust/signatures/image-reference.ts";
import { NotReadyError, type ResourceHandler } from "../../protocol/handler.ts";
import { publicationDefinition } from "./definition.ts";
import { publicationDiff } from "./diff.ts";

/** Handles `stagex:index:Publication`. */
export function publicationHandler(context: () => Context): ResourceHandler<typeof publicationDefinition> {
  const known = new Map<string, Promise<TargetRegistry>>();
  let hasReportedKept = false;

  function destination(address: string, operation: Operation): Promise<TargetRegistry> {
    const opened = known.get(address);
    if (opened !== undefined) return opened;
    const opening = context()
      .openRegistry(parseRegistryAddress(address), operation)
      .then((registry) => new TargetRegistry(registry));
    known.set(address, opening);
    opening.catch(() => known.delete(address));
    return opening;
  }

  const destinationsOf = (addresses: readonly string[], operation: Operation): Promise<TargetRegistry[]> =>
    Promise.all([...new Set(addresses)].map((address) => destination(address, operation)));

  /**
   * Publishes an image: tags are set once every destination has every blob, and are then read back.
   */
  async function publish(inputs: PublicationInputs, operation: Operation): Promise<PublicationOutputs> {
    if (!inputs.quorum.met) return outputsBelowQuorum(inputs, operation);
    const { image } = inputs;
    const target = tagTargetOf(inputs);
    // Getting the bytes may have taken hours: the signatures are evaluated after that.
    await ensureStored(context(), inputs, operation);
    operation.progress("verifying its signatures");
    const signatures = await requireQuorum(context(), inputs);
    const destinations = await destinationsOf(inputs.destinations, operation);
    for (const one of destinations) await one.push(context(), image, target, operation);
    const beside = await statementReferrers(
      context(),
      { image, reference: inputs.reference, target },
      operation,
    );
    for (const one of destinations) await one.attach(context(), image, beside, operation);
    const tags = orderTags(inputs.tags);
    for (const tag of tags) for (const one of destinations) await setTag(one, inputs, tag, operation);
    const filed = await copySignatures(context(), inputs, signatures);
    await copyStatements(context(), inputs, target);
    for (const tag of tags)
      for (const one of destinations) await requireTag(one, image, tag, target, operation);
    return { ...predictOutputs(inputs), signatures: filed };
  }

  return {
    ...publicationDefinition,

    check(plan) {
      const impossible = checkRepositoryNames(plan);
      return [...checkDigests(plan), ...(impossible.length > 0 ? impossible : checkSignedNames(plan))];
    },

    diff: publicationDiff,

    async preview(plan) {
      const inputs = publicationInputs.safeParse(plan).data;
      if (!inputs) return {};
      if (inputs.quorum.met && inputs.lookaside === undefined) return predictOutputs(inputs);
      // The copied signatures are known only after their evaluation.
      const { signatures: _signatures, ...certain } = predictOutputs(inputs);
      return inputs.quorum.met ? certain : { ...certain, published: false, tags: {} };
    },

    create: async (inputs, operation) => ({ id: inputs.image, outputs: await publish(inputs, operation) }),

    update: (_id, inputs, operation) => publish(inputs, operation),

    async read(id, state, operation) {
      if (!state) {
        throw new Error(
          `${id}: a publication cannot be imported; publish it: what the registries already have is not sent again`,
        );
      }
      const { inputs, outputs } = state;
      if (!outputs.published) return state;
      const drift = await findDrift(
        await destinationsOf(inputs.destinations, operation),
        inputs,
        outputs,
        operation,
      );
      const lost = await findMissingCopies(context(), inputs, outputs.signatures);
      const unfiled = await findUncopiedStatements(context(), inputs, outputs.target);
      const found = [
        ...drift,
        ...lost.map((signature) => `the lookaside no longer has ${signature}`),
        ...unfiled.map((statement) => `the lookaside does not have ${statement}`),
      ];
      if (found.length === 0) return { inputs, outputs: { ...outputs, drift: [] } };
      throw new NotReadyError(
        id,
        { ...outputs, drift: found },
        found.map((words) => `${words}; the next up restores it`),
      );
    },

    async delete(id, outputs, operation) {
      if (!outputs || Object.keys(outputs.tags).length === 0) return;
      if (outputs.onDelete === "untag") return await removeTags(id, outputs, operation);
      if (!hasReportedKept) {
        const what = 'published images stay published: to remove their tags, set onDelete to "untag" first';
        operation.report("info", what);
      }
      hasReportedKept = true;
    },
  };

  /**
   * Removes the tags that still point at the published digest. Tags that others have moved stay.
   */
  async function removeTags(image: string, outputs: PublicationOutputs, operation: Operation): Promise<void> {
    for (const [name, digest] of Object.entries(outputs.tags).reverse()) {
      const { address, tag } = partsOf(name, image);
      const registry = await destination(address, operation);
      const found = await registry.digestOfTag(image, tag, operation);
      if (found === digest) await registry.untag(image, tag, operation);
      else if (found !== null)
        operation.report("warning", `${name} is not removed: it points at ${found}, not at ${digest}`);
    }
  }
}

/**
 * Returns the outputs below quorum: nothing is pushed. Earlier publications stay, as others rely on
 * them.
 */
function outputsBelowQuorum(inputs: PublicationInputs, operation: Operation): PublicationOutputs {
  const tags = publicationOutputs.shape.tags.safeParse(operation.before?.tags).data ?? {};
  const names = Object.keys(tags);
  if (names.length > 0) {
    operation.report(
      "warning",
      `${inputs.image} is no longer at quorum: nothing is published now; earlier tags stay: ${names.join(", ")}`,
    );
  }
  return { ...predictOutputs(inputs), published: false, tags, signatures: [] };
}

/** Returns the outputs of a successful publication, except the signatures. */
function predictOutputs(inputs: PublicationInputs): PublicationOutputs {
  const target = tagTargetOf(inputs);
  const names = orderTags(inputs.tags).flatMap((tag) =>
    inputs.destinations.map((address) => [`${address}/${inputs.image}:${tag}`, target] as const),
  );
  const { onDelete = "keep" } = inputs;
  return { published: true, target, tags: Object.fromEntries(names), signatures: [], drift: [], onDelete };
}

/**
 * Sets a tag. Reports if someone had moved it since it was set here; a new release moves tags on
 * purpose.
 */
async function setTag(
  one: TargetRegistry,
  inputs: PublicationInputs,
  tag: string,
  operation: Operation,
): Promise<void> {
  const target = tagTargetOf(inputs);
  const name = `${one.address}/${inputs.image}:${tag}`;
  const found = await one.tag(inputs.image, target, tag, operation);
  if (found === target || found === null) return;
  const before = publicationOutputs.shape.tags.safeParse(operation.before?.tags).data?.[name];
  if (before === target)
    operation.report("warning", `${name} had been moved to ${found}, and was reset to ${target}`);
  else if (before !== found && tag !== "latest")
    operation.report("warning", `${name} pointed at ${found}, and was moved to ${target}`);
}

async function requireTag(
  one: TargetRegistry,
  image: string,
  tag: string,
  target: Digest,
  operation: Operation,
): Promise<void> {
  const found = await one.digestOfTag(image, tag, operation);
  if (found === target) return;
  const name = `${one.address}/${image}:${tag}`;
  const now = found === null ? "is gone" : `points at ${found}`;
  throw new Error(
    `${name} was set to ${target} and ${now} a moment later: someone else writes to it. Find out who, and run the same command again`,
  );
}

async function findDrift(
  destinations: readonly TargetRegistry[],
  { image, tags }: PublicationInputs,
  { target }: PublicationOutputs,
  operation: Operation,
): Promise<string[]> {
  const words: string[] = [];
  for (const one of destinations) {
    words.push(...(await one.findMissing(image, target, operation)));
    for (const tag of orderTags(tags)) {
      const found = await one.digestOfTag(image, tag, operation);
      const name = `${one.address}/${image}:${tag}`;
      if (found === null) words.push(`the tag ${name} is gone; it pointed at ${target}`);
      else if (found !== target) words.push(`the tag ${name} points at ${found}, not at ${target}`);
    }
  }
  return words;
}

function partsOf(name: string, image: string): { address: RegistryAddress; tag: string } {
  const end = name.lastIndexOf(`/${image}:`);
  return { address: parseRegistryAddress(name.slice(0, end)), tag: name.slice(end + image.length + 2) };
}

/**
 * Requires the signed digest among the platforms', and an index for the tags of several platforms.
 */
function checkDigests({ digest, digests, index }: PublicationPreview): CheckFailure[] {
  if (typeof digests !== "object") return [];
  const named = Object.values(digests);
  if (named.length > 1 && index === undefined)
    return [{ property: "index", reason: "is required for several platforms" }];
  if (typeof digest !== "string" || named.some((one) => one === digest || typeof one !== "string")) return [];
  return [{ property: "digests", reason: `do not include the image's digest, ${digest}` }];
}

/**
 * Requires the signed name and version: signatures are for one tag of one image, and nothing else
 * is signed.
 */
function checkSignedNames({ image, reference, tags }: PublicationPreview): CheckFailure[] {
  if (typeof reference !== "string") return [];
  const signed = parseTaggedReference(reference);
  const failures: CheckFailure[] = [];
  if (typeof image === "string" && basename(repositoryOf(signed)) !== image)
    failures.push({ property: "image", reason: `is ${image}, but the signatures are for ${reference}` });
  if (!Array.isArray(tags)) return failures;
  for (const [at, tag] of tags.entries()) {
    if (typeof tag !== "string" || isMovingTag(tag) || signed.endsWith(`:${tag}`)) continue;
    const reason = `${tag} is not the signed tag of ${reference}; the only others are latest and sx…, which are not signed`;
    failures.push({ property: `tags[${at}]`, reason });
  }
  return failures;
}

function checkRepositoryNames({ image, destinations }: PublicationPreview): CheckFailure[] {
  if (typeof image !== "string" || !Array.isArray(destinations)) return [];
  return destinations
    .filter((address) => repositoryIn(parseRegistryAddress(address), image) === null)
    .map((address) => ({
      property: "image",
      reason: `cannot be published: no repository at ${address} can have the name ${image} (only lower case, without +)`,
    }));
}
