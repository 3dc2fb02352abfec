import { test } from "vitest";
import { payload } from "../fixtures/maintainers.ts";
import { expectRejected } from "../fixtures/signed-payload.ts";

test("a byte order mark is no part of JSON", () =>
  expectRejected(`\ufeff${payload()}`, "payload-encoding", /byte order mark/));
