import { test } from "vitest";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test.each(["{}", "\0", ",", payload(), "// really"])("rejects bytes after the payload: %j", (more) =>
  expectRejected(payload() + more, "payload-json", /not JSON/),
);

test("rejects other documents as a payload", () =>
  expectRejected("<html></html>", "payload-json", /not JSON/));
test("rejects an empty payload", () => expectRejected(" ", "payload-json", /not JSON/));
