import { createMessage, sign } from "openpgp";
import { expect, test } from "vitest";
import { judged, newKey, payload } from "../support/builders/maintainers.ts";

test("rejects a message with two signatures", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  const both = await sign({ message, signingKeys: [alice, bob], format: "binary" });
  const outcome = await judged([both], { alice: { keys: [alice] }, bob: { keys: [bob] } });
  expect(outcome).toMatchObject({ people: 0, rejected: [{ code: "several-signatures" }] });
});
