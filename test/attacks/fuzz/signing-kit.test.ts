import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { readKit, writeKit } from "../../../trust/signatures/signing-kit.ts";
import { TrustError } from "../../../trust/trust-error.ts";
import { payload } from "../../support/builders/maintainers.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";
import { fuzz } from "./fuzzer.ts";

fuzz("signing kit", async () => {
  const file = join(await scratchFolder(), "kit.tar");
  await writeKit(file, [
    { name: "0001-core-x", payload: Buffer.from(payload()) },
    { name: "0002-core-y", payload: Buffer.from(payload()), signature: Buffer.alloc(300, 7) },
  ]);
  return {
    seeds: [readFileSync(file)],
    dictionary: ["ustar\0", "payloads/0001-core-x.json", "../", "77777777777", "\x80", "x\0", "L\0"],
    expected: [TrustError],
    async read(input) {
      writeFileSync(file, input);
      for (const { name } of await readKit(file)) expect(name).toMatch(/^\d{4,6}-[a-z0-9._-]+$/);
    },
  };
});
