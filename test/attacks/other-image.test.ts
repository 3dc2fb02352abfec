import { test } from "vitest";
import { otherDigest, payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test.each(["stagex/core-seed:latest", "stagex/core-seed:1.00", "stagex/core-seed:1"])(
  "a signature for another tag does not count: %s",
  (reference) => expectRejected(payload({ reference }), "other-reference", /core-seed:1\.0$/),
);

test.each(["stagex/core-speed:1.0", "registry.example/stagex/core-seed:1.0", "docker.io/core-seed:1.0"])(
  "a signature for another repository does not count: %s",
  (reference) =>
    expectRejected(payload({ reference }), "other-reference", /not for docker.io\/stagex\/core-seed/),
);

test("a signature for another manifest of the same tag (an older build) does not count", () =>
  expectRejected(payload({ manifest: otherDigest }), "other-digest", /0bad.*not for.*5eed/));

test.each([
  "stagex/core-seed",
  `stagex/core-seed@${otherDigest}`,
  "stagex/../core-seed:1.0",
  "",
  "core seed:1.0",
])("what is no repository and tag is no reference: %s", (reference) =>
  expectRejected(payload({ reference }), "payload-members", /docker-reference/),
);
