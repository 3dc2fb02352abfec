import { expect, test } from "vitest";
import { queryDaemon } from "../../../../buildkit/client/daemon-query.ts";
import { parseEndpoint } from "../../../../buildkit/client/endpoint.ts";

test("names a buildctl that does not exist", async () => {
  const endpoint = parseEndpoint({ address: "unix:///nowhere.sock", buildctl: "/nowhere/buildctl" });
  await expect(queryDaemon(endpoint)).rejects.toThrow(
    /BuildKit at unix:\/\/\/nowhere\.sock can't be used: .*Is \/nowhere\/buildctl there/s,
  );
});
