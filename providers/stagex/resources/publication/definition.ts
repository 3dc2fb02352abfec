import { publicationInputs, publicationOutputs } from "../../../../pipeline/publication/inputs.ts";

/** The public side of `Publication`. */
export const publicationDefinition = {
  token: "stagex:index:Publication",
  description:
    "An image in registries, with its tags and signatures. It is pushed only at quorum, which is evaluated again right before. Deleting the resource leaves the image published, unless `onDelete` is `untag`.",
  inputs: publicationInputs,
  outputs: publicationOutputs,
} as const;
