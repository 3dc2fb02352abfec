/**
 * Stops the private daemon when its last user has died: a process of its own, as the users may all
 * be killed. Started by daemon.ts with the daemon's state folder; ends with the daemon.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { endUnusedDaemon } from "./daemon.ts";
import { prepareDaemonFolders } from "./daemon-folders.ts";

const interval = 3_000;

const [root] = process.argv.slice(2);
if (root === undefined) throw new Error("usage: daemon-reaper.ts STATE_FOLDER");
const folders = await prepareDaemonFolders(root);
do await sleep(interval);
while (await endUnusedDaemon(folders));
