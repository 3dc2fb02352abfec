import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { type Candidate, Publishing } from "../support/builders/publishing.ts";
import { describeReal } from "../support/real-tools.ts";
import { answer, type Fault } from "../support/servers/faulty-registry.ts";

const password = "open-sesame-8f1c";
const auth = Buffer.from(`alice:${password}`).toString("base64");
const wrong = {
  password: "close-sesame-77ab",
  auth: Buffer.from("alice:close-sesame-77ab").toString("base64"),
};

/** Returns a user's program, which publishes one image. */
function program({ inputs }: Candidate): string {
  return [
    'import { Publication } from "./providers/stagex/resources/publication/resource.ts";',
    `const args = ${JSON.stringify(inputs)};`,
    "const [first] = args.destinations;",
    "args.destinations = [process.env.TEST_DESTINATION ?? first];",
    "const { published, tags } = new Publication(args.image, args);",
    "export default { published, tags };",
  ].join("\n");
}

/** Credentials, which the docker config has or a helper gives, are looked for wherever a run leaves anything. */
describeReal("credentials reach neither state nor logs nor output", { timeout: 300_000 }, () => {
  let project: Project;
  let publishing: Publishing;
  let image: Candidate;
  /** Outside the project, as a user's is. */
  let home: string;

  beforeAll(async () => {
    project = await Project.create();
    publishing = await Publishing.start(project.folder);
    image = await publishing.image("secret");
    await writeFile(join(project.folder, "index.ts"), program(image));
    for (const [key, value] of Object.entries(publishing.config)) await project.set(key, String(value));
    home = `${project.folder}-home`;
    await mkdir(home);
  }, 300_000);

  afterAll(async () => {
    await rm(home, { recursive: true, force: true });
    await publishing[Symbol.asyncDispose]();
    await project[Symbol.asyncDispose]();
  });

  const logIn: Fault = (request, response, pass) => {
    if (request.headers.authorization === `Basic ${auth}`) return pass();
    response.writeHead(401, { "www-authenticate": 'Basic realm="test"' });
    response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  };

  async function configured(settings: object): Promise<NodeJS.ProcessEnv> {
    await writeFile(join(home, "config.json"), JSON.stringify(settings));
    return { DOCKER_CONFIG: home, PATH: `${home}:${project.environment.PATH}` };
  }

  /** Every file that the project has now, state, logs and history included, and these words. */
  async function expectNoSecret(...words: string[]): Promise<void> {
    const entries = await readdir(project.folder, { recursive: true, withFileTypes: true });
    const files = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    expect(files.filter((file) => file.includes("/.stagex/pulumi/")).length).toBeGreaterThan(2);
    const texts = await Promise.all(files.map((file) => readFile(file, "latin1")));
    for (const secret of [password, auth, wrong.password, wrong.auth]) {
      expect(files.filter((_file, at) => texts[at]?.includes(secret))).toEqual([]);
      expect(words.filter((text) => text.includes(secret))).toEqual([]);
    }
  }

  test("refuses wrong credentials with a hint, and never prints them", async () => {
    publishing.proxy.failAt(/./, logIn);
    const environment = await configured({ auths: { [publishing.proxy.host]: { auth: wrong.auth } } });
    const { code, output } = await project.up(["--debug"], environment);
    expect(code).not.toBe(0);
    expect(output).toMatch(/refused: .*docker login/);
    await expectNoSecret(output, await project.state());
    expect(await publishing.tags(image)).toEqual({});
  });

  test("refuses credentials in an address, and never prints them", async () => {
    const environment = { TEST_DESTINATION: `alice:${password}@${publishing.proxy.host}/stagex` };
    const { code, output } = await project.up(["--debug"], environment);
    expect(code).not.toBe(0);
    expect(output).toContain("names and passwords have no place in an address");
    await expectNoSecret(output, await project.state());
  });

  test("uses those of the docker config", async () => {
    publishing.proxy.failAt(/./, logIn);
    const environment = await configured({ auths: { [publishing.proxy.host]: { auth } } });
    const { code, output } = await project.up(["--debug"], environment);
    expect(output).toMatch(/published\s*: true/);
    expect(code).toBe(0);
    const state = await project.state();
    expect(state).toContain(`${publishing.proxy.host}/stagex/${image.name}:latest`);
    await expectNoSecret(output, state);
  });

  test("uses those of a helper, in a refresh with drift and in the next up", async () => {
    const said = JSON.stringify({ ServerURL: publishing.proxy.host, Username: "alice", Secret: password });
    await writeFile(join(home, "docker-credential-test"), `#!/bin/sh\necho '${said}'\n`, { mode: 0o755 });
    const environment = await configured({ credHelpers: { [publishing.proxy.host]: "test" } });
    await publishing.server.lose(`stagex/${image.name}`, image.layout.layers[0] ?? "");
    publishing.proxy.failAt(/./, logIn);
    const refresh = await project.run(["refresh", "--yes", "--skip-preview", "--stack", "test"], environment);
    expect(refresh.output).toContain(`lacks the blob ${image.layout.layers[0]}; the next up restores it`);
    const { code, output } = await project.up([], environment);
    expect(output).toMatch(/1 updated/);
    expect(code).toBe(0);
    const again = await project.up(["--refresh", "--expect-no-changes"], environment);
    expect(again.code, again.output).toBe(0);
    await expectNoSecret(refresh.output, output, again.output, await project.state());
  });

  test("does not quote a registry that returns them", async () => {
    const echo: Fault = (request, response, pass) => {
      if (request.headers.authorization === undefined) return logIn(request, response, pass);
      answer(403, `{"errors":[{"code":"DENIED","message":"not for you"}]}`)(request, response, pass);
    };
    publishing.proxy.failAt(/./, echo);
    const environment = await configured({ auths: { [publishing.proxy.host]: { auth: wrong.auth } } });
    const { code, output } = await project.run(["refresh", "--yes", "--stack", "test"], environment);
    expect(code).not.toBe(0);
    expect(output).toContain("not for you");
    await expectNoSecret(output, await project.state());
  });
});
