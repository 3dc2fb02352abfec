// Records many builds, as a process that a test can kill: LEDGER BUILDER COUNT
import { parseInputKey } from "../../../distro/input-key.ts";
import { Ledger } from "../../../distro/ledger/ledger.ts";
import { digestOf, hexOf } from "../../../oci/digest.ts";

const [root = "", builder = "", count = "0"] = process.argv.slice(2);
process.stdout.write("begin\n");
const ledger = new Ledger(root);
for (let number = 0; number < Number(count); number += 1) {
  await ledger.append({
    inputKey: parseInputKey(hexOf(digestOf(`key ${number}`))),
    image: `core-${number}`,
    digests: { index: null, platforms: { "linux/amd64": digestOf(`image ${number}`) } },
    builder: { id: builder, facts: null },
    seconds: number,
    outcome: "built",
    finished: "2026-01-01T00:00:00Z",
  });
}
