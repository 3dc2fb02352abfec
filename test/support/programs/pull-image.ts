// Pulls an image into a store, as a process that a test can kill: CRANE REGISTRY IMAGE DIGEST STORE
// SCRATCH
import { parseDigest } from "../../../oci/digest.ts";
import { Registry } from "../../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../../oci/registry/registry-address.ts";
import { Store } from "../../../oci/store/store.ts";

const [client = "", address = "", image = "", digest = "", root = "", scratch = ""] = process.argv.slice(2);
process.stdout.write("begin\n");
const registry = new Registry(parseRegistryAddress(address), client);
const wanted = { image, version: "1.0", digest: parseDigest(digest), platform: "linux/amd64" };
await registry.pull(wanted, { store: await Store.open(root), scratch });
