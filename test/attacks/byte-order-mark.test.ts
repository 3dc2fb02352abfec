import { test } from "vitest";
import { payload } from "../support/builders/maintainers.ts";
import { expectRejected } from "../support/builders/signed-payload.ts";

test("a byte order mark is no part of JSON", () =>
  expectRejected(`\ufeff${payload()}`, "payload-encoding", /byte order mark/));
