import { orderTags } from "../../../../pipeline/publication/tags.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { PropertyChange } from "../../protocol/handler.ts";
import type { PropertyMap } from "../../protocol/property-values.ts";

/** Another image is another publication. The old one is kept or untagged, by its `onDelete`. */
const rules = { ignored: [], replacing: ["image"] };

/**
 * Compares what is to be published with what was. Tags are set in an order of their own, so their
 * written order is ignored.
 */
export function publicationDiff(before: PropertyMap, after: PropertyMap): PropertyChange[] {
  return detailedDiff(withTagsInOrder(before), withTagsInOrder(after), rules);
}

function withTagsInOrder(properties: PropertyMap): PropertyMap {
  const { tags } = properties;
  const isKnown = Array.isArray(tags) && tags.every((tag) => typeof tag === "string");
  return isKnown ? { ...properties, tags: orderTags(tags) } : properties;
}
