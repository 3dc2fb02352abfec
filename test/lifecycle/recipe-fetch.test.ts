import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseFetchRecord } from "../../sources/recording/fetch-record.ts";
import { FetchPallets } from "../support/builders/fetch-pallets.ts";
import { ended, Project } from "../support/builders/project.ts";
import { packageFiles, writeInto } from "../support/builders/written-tree.ts";
import { describeReal } from "../support/real-tools.ts";
import { PackageRegistry } from "../support/servers/package-registry.ts";

/** The file with the engine's state of the stack. */
const stackFile = ".stagex/pulumi/.pulumi/stacks/stagex/test.json";

describeReal("a recipe that fetches, in a run of the engine", () => {
  let project: Project;
  let registry: PackageRegistry;
  let pallet: Buffer;
  let first: Awaited<ReturnType<typeof up>>;
  let isOtherEnded: Promise<boolean>;

  beforeAll(async () => {
    registry = await PackageRegistry.start();
    registry.addModule("registry.test/greeting", "v1.0.0", "package greeting\n");
    project = await Project.create({ hosts: `127.0.0.1 localhost ${registry.host}\n` });
    await writeFile(join(project.folder, "ca.pem"), registry.authority);
    pallet = await new FetchPallets(project.folder).go();
    await addPackage("fetching", "go mod download");
    // One platform's step waits for an answer for ever, the other's for that, and then fails.
    await addPackage(
      "two",
      `go mod download registry.test/\${TARGETARCH}@v1.0.0`,
      'platforms = ["linux/amd64", "linux/386"]\n',
    );
    await project.commit("Two packages that fetch");
    await cp(join(project.folder, stackFile), join(project.folder, "empty.json"));
    // All of both packages at once.
    await project.set("jobs", "3");
    const path = (module: string) => `/go/registry.test/${module}/@v/v1.0.0.info`;
    registry.held.set(path("amd64"), new Promise(() => undefined));
    const asked = registry.asked(path("amd64"));
    registry.held.set(path("386"), asked);
    // The run goes on for as long: its end would end everything.
    isOtherEnded = asked.then(waitForOther);
    registry.held.set(path("greeting"), isOtherEnded);
    first = await up("first", ["two", "fetching"], { private: [registry.host] });
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await project?.[Symbol.asyncDispose]();
  });

  async function addPackage(name: string, command: string, more = ""): Promise<void> {
    const hash = createHash("sha256").update(pallet).digest("hex");
    const source = `[sources.pallet]\nhash = "${hash}"\nmirrors = ["https://nowhere.test/pallet.tar"]\n`;
    const containerfile = `FROM scratch AS build
ARG TARGETARCH
ADD fetch/pallet.tar /
ENV PATH=/go/bin:/bin HOME=/root GOROOT=/go GOTOOLCHAIN=local GONOSUMDB=* GOFLAGS=-modcacherw GOCACHE=/dev/shm/c
ENV GOPROXY=${registry.url}/go
WORKDIR /app
COPY go.mod .
RUN ${command}
FROM scratch AS package
COPY --from=build /root/go/pkg/mod/ /
`;
    writeInto(project.tree, {
      ...packageFiles(`user/${name}`, { toml: `version = "1.0"\n${more}${source}`, containerfile }),
      [`packages/user/${name}/go.mod`]: "module app\n\ngo 1.20\n\nrequire registry.test/greeting v1.0.0\n",
    });
    await mkdir(join(project.tree, "fetch/user", name), { recursive: true });
    await writeFile(join(project.tree, "fetch/user", name, "pallet.tar"), pallet);
  }

  /** `pulumi up` from nothing, in a state folder of that name. */
  async function up(state: string, images: readonly string[], network: object) {
    await cp(join(project.folder, "empty.json"), join(project.folder, stackFile));
    await project.set("images", JSON.stringify(images));
    await project.set("network", JSON.stringify(network));
    return await project.up(["--continue-on-error"], {
      STAGEX_STATE: stateOf(state),
      NODE_EXTRA_CA_CERTS: join(project.folder, "ca.pem"),
    });
  }

  function stateOf(name: string): string {
    return join(project.folder, "states", name);
  }

  /** Whether the step that waits for ever is ended within 20 seconds. */
  async function waitForOther(): Promise<boolean> {
    const log = join(stateOf("first"), "logs/user-two-linux-amd64.log");
    for (let tries = 0; tries < 200; tries++) {
      const text = await readFile(log, "utf8").catch(() => "");
      if (/^#\d+ ERROR: process .*go mod download.*context canceled$/m.test(text)) return true;
      await sleep(100);
    }
    return false;
  }

  async function indexOf(state: string): Promise<string> {
    return await readFile(join(stateOf(state), "out/user-fetching/index.json"), "utf8");
  }

  test("what one platform's step fails with is told, and the other's is ended before the proxy is", async () => {
    expect(first.code, first.output).not.toBe(0);
    const failed =
      /user-two can't be built: \[build \d\/\d\] RUN go mod download registry\.test\/\S+: exit code 1$/m;
    expect(first.output).toMatch(failed);
    expect(first.output).toContain("registry.test/386@v1.0.0");
    expect(first.output).not.toMatch(/with-proxy|stagex-fetch|is lost/);
    expect(await isOtherEnded).toBe(true);
    const log = await readFile(join(stateOf("first"), "logs/user-two-linux-amd64.log"), "utf8");
    expect(log).not.toMatch(/with-proxy|stagex-fetch/);
  });

  test("is recorded in ledger and provenance, and replayed in another state without the registry", async () => {
    expect(first.built).toEqual(["user-fetching"]);
    const ledger = join(stateOf("first"), "ledger");
    const files = await readdir(ledger, { recursive: true });
    const [record = "", ...others] = files.filter((file) => /^fetches\/.*\.json$/.test(file));
    expect(others).toEqual([]);
    const { answers } = parseFetchRecord(await readFile(join(ledger, record), "utf8"));
    const zip = answers.find(({ url }) => url === `${registry.url}/go/registry.test/greeting/@v/v1.0.0.zip`);
    const name = basename(record, ".json");
    const entries = files.filter((file) => !file.startsWith("fetches") && file.endsWith(".json"));
    const texts = await Promise.all(entries.map((file) => readFile(join(ledger, file), "utf8")));
    expect(texts.filter((text) => text.includes(name))).toHaveLength(1);
    const { output } = await ended(
      project.startStagex(
        ["provenance", "user-fetching", "--json", "--tree", "tree", "--ledger", ledger],
        {},
      ),
    );
    for (const word of [name, zip?.url, zip?.sha256]) expect(output).toContain(word);

    await registry[Symbol.asyncDispose]();
    await cp(ledger, join(stateOf("second"), "ledger"), { recursive: true });
    const second = await up("second", ["fetching"], { mode: "replay" });
    expect(second.code, second.output).toBe(0);
    expect(second.built).toEqual(["user-fetching"]);
    expect(await indexOf("second")).toBe(await indexOf("first"));
  });
});
