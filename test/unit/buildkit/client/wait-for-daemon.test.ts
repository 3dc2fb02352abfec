import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseEndpoint } from "../../../../buildkit/client/endpoint.ts";
import { waitForDaemon } from "../../../../buildkit/client/wait-for-daemon.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const refused = "connection error: remote error: tls: certificate required";
const ended = "connection error: error reading server preface: EOF";

/** An endpoint whose buildctl fails with one of these messages after the other, then always with the last. */
async function saying(...words: string[]) {
  const folder = await scratchFolder();
  const lines = words.map((line, index) => `${index + 1}) echo "${line}" >&2; exit 1 ;;`);
  const script = `#!/bin/sh
count=$(($(cat ${folder}/count 2>/dev/null || echo 0) + 1))
echo $count >${folder}/count
[ $count -le ${words.length} ] || count=${words.length}
case $count in
${lines.join("\n")}
esac
`;
  const buildctl = join(folder, "buildctl");
  await writeFile(buildctl, script, { mode: 0o755 });
  return parseEndpoint({ address: "tcp://127.0.0.1:1", buildctl });
}

test("stops waiting at a refused certificate, though some queries show only a closed connection", async () => {
  const waits: string[] = [];
  const waiting = waitForDaemon(await saying(refused, ended, refused, refused, ended), {
    seconds: 60,
    onWaiting: (why) => waits.push(why),
  });
  await expect(waiting).rejects.toThrow(/it refuses our certificate/);
  expect(waits).toHaveLength(3);
});

test("waits for a passing failure as long as given", async () => {
  await expect(waitForDaemon(await saying(ended), { seconds: 1 })).rejects.toThrow(/it ended the connection/);
});
