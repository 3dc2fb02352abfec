import { test } from "vitest";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test.each(["{}", "\0", ",", payload(), "// really"])("nothing may follow the payload: %j", (more) =>
  expectRejected(payload() + more, "payload-json", /not JSON/),
);

test("nor is anything else a payload", () => expectRejected("<html></html>", "payload-json", /not JSON/));
test("nor is nothing", () => expectRejected(" ", "payload-json", /not JSON/));
