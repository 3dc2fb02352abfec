import { test } from "vitest";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test.each([1.5, 1e300, "1", null, true])(
  "rejects a timestamp that is no whole number, as podman does: %j",
  (timestamp) =>
    expectRejected(payload({ optional: { timestamp } }), "payload-members", /optional\.timestamp/),
);

test.each([1, null, {}])("rejects a creator that is no text: %j", (creator) =>
  expectRejected(payload({ optional: { creator } }), "payload-members", /optional\.creator/),
);
