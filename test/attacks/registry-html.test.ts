import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Candidate, Publishing } from "../support/builders/publishing.ts";
import { describeReal } from "../support/real-tools.ts";
import { answer } from "../support/servers/faulty-registry.ts";

const page = answer(200, "<!doctype html><title>Welcome to the airport</title>", "text/html");

/**
 * A network's log-in page answers in the registry's place, with 200: to all requests, or to some.
 */
describeReal("a web page with 200 is no registry", () => {
  let publishing: Publishing;
  let image: Candidate;

  beforeAll(async () => {
    publishing = await Publishing.start();
  });

  afterAll(() => publishing[Symbol.asyncDispose]());

  beforeEach(async ({ task }) => {
    image = await publishing.image(task.name);
  });

  afterEach(() => publishing.proxy.failAt(/never/, answer(500)));

  test.each([
    ["everywhere", /./, /not-a-registry|failed/],
    ["for all questions", /^(GET|HEAD) .*(manifests|blobs)/, /not-a-registry/],
    // The registry itself then says what it has not got.
    ["for all blobs", / .*blobs/, /not-a-registry|MANIFEST_BLOB_UNKNOWN/],
    ["for all manifests", / .*manifests/, /not-a-registry/],
    ["for the manifest that was pushed", /GET .*manifests\/sha256/, /not-a-registry/],
    ["for tags", /GET .*manifests\/[^s]/, /not-a-registry/],
  ])("%s: nothing is reported as published", async (_name, at, problem) => {
    publishing.proxy.failAt(at, page);
    const failure = await publishing.create(image.inputs).then(String, (error: Error) => error.message);
    expect(failure).toMatch(problem);
    expect(failure).toContain(`${publishing.proxy.host}/stagex/${image.name}`);
    expect(failure).not.toContain("airport");
    // What did reach the registry is whole, or no tag points at it.
    const tags = Object.values(await publishing.tags(image));
    expect(tags.filter((digest) => digest !== image.digest)).toEqual([]);
  });

  test.each([
    ["for blobs", / .*blobs/],
    ["for layers", /HEAD .*blobs/],
    ["for the config", /GET .*blobs/],
    ["for manifests", / .*manifests/],
  ])("%s: a refresh can't tell, which is neither well nor drift", async (_name, at) => {
    const outputs = await publishing.create(image.inputs);
    publishing.proxy.failAt(at, page);
    await expect(publishing.drift(image.inputs, outputs)).rejects.toThrow(/not-a-registry/);
  });
});
