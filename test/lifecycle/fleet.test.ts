import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { prepareDaemonFolders } from "../../buildkit/daemon/daemon-folders.ts";
import { createAuthority } from "../../trust/certificate-authority.ts";
import { processesOf } from "../support/builders/leftovers.ts";
import { ended, Project, publishedDigests } from "../support/builders/project.ts";
import { addSleepingImage } from "../support/builders/sleeping-image.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

type LedgerEntry = {
  readonly image: string;
  readonly builder: { readonly id: string; readonly facts: { readonly cpuVendor: string } };
};

/** Returns all records of a project's ledger. */
async function recordsOf({ folder }: Project): Promise<LedgerEntry[]> {
  const ledger = join(folder, ".stagex/ledger");
  const names = await readdir(ledger, { recursive: true }).catch(() => []);
  const files = names.filter((name) => /\/[^./][^/]*\.json$/.test(name));
  return await Promise.all(
    files.map(async (name) => JSON.parse(await readFile(join(ledger, name), "utf8")) as LedgerEntry),
  );
}

/** Forgets what was built, so that all is built again. */
async function forget(project: Project): Promise<void> {
  await project.run(["destroy", "--yes", "--stack", "test"]);
  for (const place of ["ledger", "built", "store"])
    await rm(join(project.folder, ".stagex", place), { recursive: true, force: true });
}

describeReal("three private daemons build a tree", () => {
  let project: Project;
  let published: Record<string, string>;

  beforeAll(async () => {
    project = await Project.create();
    published = await publishedDigests(project.tree);
    await project.set("localBuilders", "3");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  /** Whose container a process is in, and that daemon's own process. */
  async function builderOf(pid: number): Promise<{ name: string; daemon: number }> {
    const inside = await readFile(`/proc/${pid}/cgroup`, "utf8");
    for (const number of [1, 2, 3]) {
      const folders = await prepareDaemonFolders(join(project.folder, `.stagex/buildkit-${number}`));
      if (!inside.includes(`/${folders.cgroup}/`)) continue;
      const { daemon } = JSON.parse(await readFile(folders.record, "utf8")) as { daemon: { pid: number } };
      return { name: `local-${number}`, daemon: daemon.pid };
    }
    throw new Error(`no daemon of the fleet runs process ${pid}`);
  }

  test("with the digests of one, and all of them take part", async () => {
    const { code, output, built } = await project.up();
    expect(output).toMatch(/stagex:index:Builder local-3 created/);
    expect(code, output).toBe(0);
    expect(built).toEqual(Object.keys(published).sort());
    expect(await project.digests()).toEqual(published);
    const builders = new Set((await recordsOf(project)).map(({ builder }) => builder.id));
    expect(builders.size).toBe(3);
  });

  test("where nothing changed, none of them is started", async () => {
    const daemonsOf = () => processesOf(project.folder, /buildkitd --config/);
    await expect.poll(daemonsOf, { timeout: 60_000, interval: 200 }).toEqual([]);
    const running = project.start(["up", "--yes", "--skip-preview", "--stack", "test", "--refresh"]);
    let daemons = 0;
    while (running.process.exitCode === null) {
      daemons += (await daemonsOf()).length;
      await sleep(200);
    }
    expect(running.output()).toMatch(/\d+ unchanged/);
    expect(running.process.exitCode).toBe(0);
    expect(daemons).toBe(0);
  });

  test("killing one midway changes nothing but time", async () => {
    await forget(project);
    for (const name of ["one", "two", "three"]) await addSleepingImage(project.tree, name, 10);
    await project.commit("Images that last");
    const running = project.start(["up", "--yes", "--skip-preview", "--stack", "test"]);
    const sleeping = () => processesOf(project.folder, /^\d+ \/sleep $/);
    await expect.poll(sleeping, { timeout: 120_000, interval: 50 }).not.toEqual([]);
    const [sleeper = 0] = await sleeping();
    const { name, daemon } = await builderOf(sleeper);
    process.kill(daemon, "SIGKILL");
    const { code, output } = await ended(running);
    expect(output).toContain(`builder ${name} is lost, trying elsewhere`);
    expect(code, output).toBe(0);
    expect(await project.digests()).toMatchObject(published);
  });
});

describeReal("machines at addresses, with mutual TLS", () => {
  let project: Project;
  let published: Record<string, string>;
  let west: TlsDaemon;
  let east: TlsDaemon;

  beforeAll(async () => {
    [west, east] = [await TlsDaemon.start(), await TlsDaemon.start()];
    project = await Project.create();
    published = await publishedDigests(project.tree);
    await project.set("images", '["user-hello"]');
  });

  afterAll(async () => {
    await project?.[Symbol.asyncDispose]();
    await west?.[Symbol.asyncDispose]();
    await east?.[Symbol.asyncDispose]();
  });

  /** A builder's entry in the configuration, its credentials in files below the project. */
  async function entry(
    name: string,
    daemon: TlsDaemon,
    more: object = {},
    client = daemon.client(),
  ): Promise<object> {
    const folder = join(project.folder, "credentials", name);
    await mkdir(folder, { recursive: true });
    const { ca, cert, key } = await client;
    const files = { ca, cert, key };
    for (const [kind, path] of Object.entries(files))
      await writeFile(join(folder, `${kind}.pem`), await readFile(path));
    const tls = Object.fromEntries(
      Object.keys(files).map((kind) => [kind, `credentials/${name}/${kind}.pem`]),
    );
    return { name, address: daemon.address, tls, ...more };
  }

  const keysLeft = async () =>
    (await readdir(join(project.folder, ".stagex/scratch"), { recursive: true }).catch(() => [])).filter(
      (name) => name.endsWith(".pem"),
    );

  test("they build, and no key is in the state or left in a file", async () => {
    const builders = [await entry("west", west), await entry("east", east)];
    await project.set("builders", JSON.stringify(builders));
    const { code, output } = await project.up();
    expect(output).toMatch(/stagex:index:Builder east created/);
    expect(code, output).toBe(0);
    expect(published).toMatchObject(await project.digests());
    const state = await project.state();
    expect(state).toContain("stagex:index:Builder");
    expect(state).toContain('"vendorSource": "probe"');
    expect(state).not.toMatch(/BEGIN (CERTIFICATE|PRIVATE KEY)/);
    expect(await keysLeft()).toEqual([]);
  });

  test("one that our certificate is nothing to fails, and says why; the other builds", async () => {
    await forget(project);
    const foreign = await createAuthority("somebody else's", 1);
    const stranger = east.client({ authority: foreign });
    const builders = [await entry("west", west), await entry("east", east, {}, stranger)];
    await project.set("builders", JSON.stringify(builders));
    const { code, output, built } = await project.up(["--continue-on-error"]);
    expect(output).toMatch(/east.*refuses our certificate.*a foreign CA/s);
    expect(built).toContain("user-hello");
    expect(code).not.toBe(0);
    expect(published).toMatchObject(await project.digests());
  });

  test("on each declared vendor's machine every image is built once, and all are equal", async () => {
    await forget(project);
    const builders = [
      await entry("west", west, { vendor: "GenuineIntel" }),
      await entry("east", east, { vendor: "AuthenticAMD" }),
    ];
    await project.set("builders", JSON.stringify(builders));
    await project.set("reproduceOn", '["AuthenticAMD","GenuineIntel"]');
    const { code, output } = await project.up();
    expect(code, output).toBe(0);
    expect(published).toMatchObject(await project.digests());
    const records = await recordsOf(project);
    for (const image of Object.keys(await project.digests())) {
      const vendors = records
        .filter((record) => record.image === image)
        .map(({ builder }) => builder.facts.cpuVendor);
      expect(vendors.sort(), image).toEqual(["AuthenticAMD", "GenuineIntel"]);
    }
  });

  test("an image that comes out otherwise is stopped, with all that is built from it", async () => {
    const folder = join(project.tree, "packages/user/lottery");
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "Containerfile"),
      `FROM stagex/pallet-stem AS build
COPY --from=stagex/core-textutils . /
RUN --network=none <<-EOF
	cat /proc/sys/kernel/random/uuid > /out/number
EOF
FROM scratch AS package
COPY --from=build /out/number /etc/number
`,
    );
    const about = 'license = "CC0-1.0"\nwebsite = "https://seed-tree.example"\n';
    await writeFile(
      join(folder, "package.toml"),
      `[package]\nname = "lottery"\nversion = "1.0.0"\ndescription = "Another each time"\n${about}`,
    );
    await addSleepingImage(project.tree, "gambler", 1, ["user-lottery"]);
    await project.commit("An image that differs each time");
    await project.set("images", '["user-gambler"]');
    const { code, output, built } = await project.up();
    expect(output).toContain("user-lottery: not reproduced for linux/amd64");
    expect(output).toMatch(/first difference: layer 1: etc\/number: content differs/);
    expect(built).not.toContain("user-gambler");
    expect(code).not.toBe(0);
  });

  test("a builder that delivers other bytes than it says is caught, and what it was to build is built elsewhere", async () => {
    await project.run(["config", "rm", "stagex:reproduceOn", "--stack", "test"]);
    await forget(project);
    await project.set("images", '["user-hello"]');
    const builders = [await entry("west", west), await entry("east", east)];
    await project.set("builders", JSON.stringify(builders));
    const environment = { PATH: `${await lyingClient(east.address)}${delimiter}${process.env.PATH}` };
    const { code, output } = await project.up([], environment);
    expect(output).toMatch(/builder east is lost.*what it delivered is not what it says/);
    expect(code, output).toBe(0);
    expect(published).toMatchObject(await project.digests());
  });

  /** A folder with a buildctl that alters a byte of what the daemon at this address delivers. */
  async function lyingClient(address: string): Promise<string> {
    const folder = join(project.folder, "lying");
    await mkdir(folder, { recursive: true });
    const script = `#!/bin/sh
${realTool("buildctl")} "$@" || exit $?
case "$*" in
*"${address} "*dest=*)
  folder=$(echo "$*" | sed 's/.*dest=\\([^ ,"]*\\).*/\\1/')
  blob=$(ls -S "$folder/blobs/sha256"/* | head -n 1)
  printf X | dd of="$blob" bs=1 seek=20 conv=notrunc 2>/dev/null
esac
`;
    await writeFile(join(folder, "buildctl"), script, { mode: 0o755 });
    return folder;
  }
});
