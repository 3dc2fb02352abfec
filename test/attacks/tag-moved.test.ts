import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Registry } from "../../oci/registry/registry.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { type Candidate, Publishing } from "../support/builders/publishing.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { answer } from "../support/servers/faulty-registry.ts";

/**
 * An attacker with write access to the registry, but without a maintainer's signature, moves the
 * tags to their own image.
 */
describeReal("a tag that is moved while an image is verified and published", () => {
  let publishing: Publishing;
  let image: Candidate;
  let evil: Candidate;
  let registry: Registry;

  beforeAll(async () => {
    publishing = await Publishing.start();
    registry = new Registry(
      parseRegistryAddress(`${publishing.server.host}/stagex`),
      realTool("registry-client"),
    );
  });

  afterAll(() => publishing[Symbol.asyncDispose]());

  beforeEach(async ({ task }) => {
    image = await publishing.image(task.name);
    evil = await publishing.image(`not ${task.name}`, { signers: [] });
    const scratch = join(publishing.folder, "scratch");
    await registry.push(image.name, evil.digest, { store: publishing.store, scratch });
    publishing.proxy.failAt(/never/, answer(500));
  });

  /** Has the tag moved just before this request is answered; the one that comes so many after the first. */
  function moveAt(at: RegExp, tag: string, after = 0): void {
    let left = after;
    publishing.proxy.failAt(at, (_request, _response, pass) => {
      left -= 1;
      if (left === -1) void registry.tag(image.name, evil.digest, tag).then(pass);
      else pass();
    });
  }

  const everywhere = (digest: string) => ({ "1.0": digest, "sx2026.03.0": digest, latest: digest });

  test("moved before the push, what was verified is pushed and tagged", async () => {
    for (const tag of ["1.0", "latest"]) await registry.tag(image.name, evil.digest, tag);
    await publishing.create(image.inputs);
    expect(await publishing.tags(image)).toEqual(everywhere(image.digest));
  });

  test.each([
    ["between verification and push", /POST .*uploads/],
    ["between push and tag", /PUT .*manifests\/1\.0/],
  ])("%s: the tag is set by digest, whatever it pointed at", async (_name, at) => {
    moveAt(at, "1.0");
    await publishing.create(image.inputs);
    expect(await publishing.tags(image)).toEqual(everywhere(image.digest));
  });

  test("after it was set: that is no success, and both digests are named; the next run puts it back", async () => {
    // The first question is for what it points at before, the second for what it points at now.
    moveAt(/GET .*manifests\/latest/, "latest", 1);
    await expect(publishing.create(image.inputs)).rejects.toThrow(
      `:latest was set to ${image.digest} and points at ${evil.digest} a moment later`,
    );
    expect(await publishing.tags(image)).toMatchObject({ latest: evil.digest });
    publishing.proxy.failAt(/never/, answer(500));
    await publishing.create(image.inputs);
    expect(await publishing.tags(image)).toEqual(everywhere(image.digest));
  });

  test("detects a registry that reports a tag as set and did not set it", async () => {
    publishing.proxy.failAt(/PUT .*manifests\/latest/, answer(201));
    await expect(publishing.create(image.inputs)).rejects.toThrow(
      `:latest was set to ${image.digest} and is gone a moment later`,
    );
  });

  test("detects a registry whose header has the right digest and whose bytes are wrong", async () => {
    const manifest = JSON.stringify({ schemaVersion: 2, manifests: [] });
    let asked = 0;
    publishing.proxy.failAt(/GET .*manifests\/latest/, (_request, response, pass) => {
      asked += 1;
      if (asked === 1) return pass();
      response.writeHead(200, {
        "content-type": "application/vnd.oci.image.index.v1+json",
        "docker-content-digest": image.digest,
      });
      response.end(manifest);
    });
    await expect(publishing.create(image.inputs)).rejects.toThrow(/:latest was set to sha256/);
  });
});
