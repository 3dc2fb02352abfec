import { test } from "vitest";
import { otherDigest, payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

const image = `"image":{"docker-manifest-digest":"${otherDigest}"},`;

test.each([
  ["the first for others, the last for us", payload().replace('{"identity"', `{${image}"identity"`)],
  [
    "the name written with an escape",
    payload().replace('{"identity"', `{${image.replace("image", "im\\u0061ge")}"identity"`),
  ],
  ["critical itself", payload().replace("{", '{"critical":{},')],
  ["deep in optional", payload({ optional: { deep: [{ a: 1 }] } }).replace('"a":1', '"a":1,"a":1')],
])("rejects a duplicate member: %s", (_, text) =>
  expectRejected(text, "payload-duplicate-member", /twice in one object/),
);
