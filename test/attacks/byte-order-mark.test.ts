import { test } from "vitest";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test("rejects JSON with a byte order mark", () =>
  expectRejected(`\ufeff${payload()}`, "payload-encoding", /byte order mark/));
