// Adopts a layout into a store and exports it, as a process that a test can kill: STORE LAYOUT OUT
import { Store } from "../../../oci/store/store.ts";

const [root = "", layout = "", out = ""] = process.argv.slice(2);
process.stdout.write("begin\n");
const store = await Store.open(root);
const image = await store.adopt(layout);
await store.export(image.index, out);
