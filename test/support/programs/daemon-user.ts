/**
 * A user of the daemon as a process of its own, to be killed. Prints the address on stdout, then
 * waits to be killed.
 */
import { acquireDaemon } from "../../../buildkit/daemon/daemon.ts";

const [buildkitd, runc, root] = process.argv.slice(2);
if (buildkitd === undefined || runc === undefined || root === undefined)
  throw new Error("usage: user.ts BUILDKITD RUNC ROOT");
const use = await acquireDaemon({ buildkitd, runc, root });
console.log(use.address);
process.stdin.resume();
process.stdin.on("end", () => void use.release());
