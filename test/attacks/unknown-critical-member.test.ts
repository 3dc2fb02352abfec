import { test } from "vitest";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

const good = JSON.parse(payload());

test.each([
  ["in critical", { ...good, critical: { ...good.critical, expires: 1 } }],
  ["in the image", { ...good, critical: { ...good.critical, image: { ...good.critical.image, size: 1 } } }],
  [
    "in the identity",
    { ...good, critical: { ...good.critical, identity: { ...good.critical.identity, tag: "1" } } },
  ],
  ["beside critical", { ...good, comment: "" }],
  ["another type", { ...good, critical: { ...good.critical, type: "atomic container signature 2" } }],
  ["no optional", { critical: good.critical }],
  ["no identity", { ...good, critical: { type: good.critical.type, image: good.critical.image } }],
  ["no object", [good]],
])("rejects an unknown critical member: %s", (_, value) =>
  expectRejected(JSON.stringify(value), "payload-members", /^the payload is not as the format has it/),
);
