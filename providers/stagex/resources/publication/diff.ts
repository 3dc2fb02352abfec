import { tagsInOrder } from "../../../../pipeline/publication/tags.ts";
import { changesBetween } from "../../protocol/detailed-diff.ts";
import type { PropertyChange } from "../../protocol/handler.ts";
import type { Properties } from "../../protocol/property-values.ts";

/** Another image is another publication; the old one's is kept or untagged as it says. */
const rules = { ignored: [], replacing: ["image"] };

/** How what is to be published differs from what was. The order in which tags are written is not the one they are set in. */
export function publicationChanges(before: Properties, after: Properties): PropertyChange[] {
  return changesBetween(withTagsInOrder(before), withTagsInOrder(after), rules);
}

function withTagsInOrder(properties: Properties): Properties {
  const { tags } = properties;
  const isKnown = Array.isArray(tags) && tags.every((tag) => typeof tag === "string");
  return isKnown ? { ...properties, tags: tagsInOrder(tags) } : properties;
}
