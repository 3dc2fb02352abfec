import { test } from "vitest";
import { otherDigest, payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test.each(["stagex/core-seed:latest", "stagex/core-seed:1.00", "stagex/core-seed:1"])(
  "rejects a signature for another tag: %s",
  (reference) => expectRejected(payload({ reference }), "other-reference", /core-seed:1\.0$/),
);

test.each(["stagex/core-speed:1.0", "registry.example/stagex/core-seed:1.0", "docker.io/core-seed:1.0"])(
  "rejects a signature for another repository: %s",
  (reference) =>
    expectRejected(payload({ reference }), "other-reference", /not for docker.io\/stagex\/core-seed/),
);

test("rejects a signature for another manifest of the same tag (an older build)", () =>
  expectRejected(payload({ manifest: otherDigest }), "other-digest", /0bad.*not for.*5eed/));

test.each([
  "stagex/core-seed",
  `stagex/core-seed@${otherDigest}`,
  "stagex/../core-seed:1.0",
  "",
  "core seed:1.0",
])("rejects a reference without repository and tag: %s", (reference) =>
  expectRejected(payload({ reference }), "payload-members", /docker-reference/),
);
