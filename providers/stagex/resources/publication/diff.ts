import { orderTags } from "../../../../pipeline/publication/tags.ts";
import { detailedDiff } from "../../protocol/detailed-diff.ts";
import type { PropertyChange } from "../../protocol/handler.ts";
import type { PropertyMap } from "../../protocol/property-values.ts";

/** Another image is another publication; the old one's is kept or untagged as it says. */
const rules = { ignored: [], replacing: ["image"] };

/** How what is to be published differs from what was. The order in which tags are written is not the one they are set in. */
export function publicationDiff(before: PropertyMap, after: PropertyMap): PropertyChange[] {
  return detailedDiff(withTagsInOrder(before), withTagsInOrder(after), rules);
}

function withTagsInOrder(properties: PropertyMap): PropertyMap {
  const { tags } = properties;
  const isKnown = Array.isArray(tags) && tags.every((tag) => typeof tag === "string");
  return isKnown ? { ...properties, tags: orderTags(tags) } : properties;
}
