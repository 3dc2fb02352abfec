import { expect, test } from "vitest";
import { checkUpstreamPrograms } from "../../../../cli/doctor/upstream.ts";
import type { Docker } from "../../../../tools/docker.ts";

const stopped: Docker = {
  client: [29, 1, 5],
  server: null,
  usesContainerdStore: false,
  buildx: [0, 30, 1],
  builders: [],
};

test.each([
  ["is not installed", null, /docs\.docker\.com/],
  ["does not run", stopped, /^start Docker$/],
  ["keeps images its own way", { ...stopped, server: [29, 1, 5] } as const, /containerd-snapshotter/],
])("suggests the right fix of the image store if Docker %s", async (_, docker, mend) => {
  const { checks } = await checkUpstreamPrograms({ PATH: "" }, docker);
  const store = checks.find(({ name }) => name === "docker's image store");
  expect(store).toMatchObject({ verdict: "lacks", mend: expect.stringMatching(mend) });
});
