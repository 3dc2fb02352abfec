// Obtains one source, as a process that a test can kill: CACHE AUTHORITY-FILE URL SHA256
import { readFileSync } from "node:fs";
import { SourceCache } from "../../../sources/source-cache.ts";

const [root = "", authority = "", url = "", sha256 = ""] = process.argv.slice(2);
const cache = await SourceCache.open(root, { ca: readFileSync(authority, "utf8"), backoff: 10 });
process.stdout.write("begin\n");
await cache.obtain({ name: "data", file: "data.tar", sha256, mirrors: [url] });
