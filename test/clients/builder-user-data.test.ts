import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type BuilderSettings,
  builderFiles,
  userData,
} from "../../components/builder-fleet/aws-user-data.ts";
import { findExecutable } from "../../tools/executable.ts";
import {
  createAuthority,
  issueCertificate,
  type KeyAndCertificate,
} from "../../trust/certificate-authority.ts";
import { type Ended, RootFolder } from "../support/builders/root-folder.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import type { Holdings } from "../support/servers/aws-on-loopback.ts";

const awsPort = 8080;
const serverName = "intel-1.stagex.internal";
/** Fetched by a builder with Amazon Linux's own client; cloud-init is what runs the user data there. */
const [client, cloudInit] = await Promise.all([findExecutable("aws"), findExecutable("cloud-init")]);
const canInstall = Boolean(process.env.CI);
const missing = [client ? [] : ["awscli"], cloudInit ? [] : ["cloud-init"]].flat();
if (missing.length > 0 && !canInstall)
  process.stderr.write(`SKIPPED: what a builder's user data does with ${missing.join(" and ")}\n`);

const withClient = test.skipIf(client === null && !canInstall);
const withCloudInit = test.skipIf(cloudInit === null && !canInstall);
const withSystemd = test.skipIf((await findExecutable("systemd-analyze")) === null);

describeReal("the user data of a builder, run in a root folder", () => {
  let root: RootFolder;
  let folder: string;
  let holdings: Holdings;
  let settings: BuilderSettings;
  let authority: KeyAndCertificate;
  let environment: NodeJS.ProcessEnv;
  let device: string;

  const run = (...command: string[]): Promise<Ended> => root.run(command, { env: environment });
  /** Runs it, and expects it to succeed. */
  async function succeed(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(...command);
    expect([command.join(" "), code, stderr]).toEqual([command.join(" "), 0, expect.anything()]);
    return stdout;
  }
  const hold = (changed: Holdings): Promise<void> =>
    writeFile(join(folder, "holdings.json"), JSON.stringify(changed));

  beforeAll(async () => {
    root = await RootFolder.make();
    folder = await mkdtemp(join(tmpdir(), "stagex-aws-"));
    if (missing.length > 0 && canInstall) await install(missing);
    authority = await createAuthority("test builders", 1);
    const server = await issueCertificate(authority, {
      commonName: "intel-1",
      names: [serverName],
      side: "server",
      days: 1,
    });
    const programs = await setUpPrograms();
    settings = {
      region: "us-east-2",
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      bucket: "stagex-programs",
      programs: Object.fromEntries(programs.map(({ name, sha256 }) => [name, sha256])),
      parameters: "/stagex/stagex/intel-1",
      cacheDevice: "nvme-Amazon_Elastic_Block_Store_vol0",
      slots: 2,
      idleMinutes: 3,
      logGroup: "/stagex/stagex",
      logStream: "intel-1",
    };
    holdings = {
      objects: Object.fromEntries(
        programs.map(({ sha256, path }) => [`stagex-programs/programs/${sha256}`, path]),
      ),
      parameters: {
        [`${settings.parameters}/ca`]: authority.certificate,
        [`${settings.parameters}/certificate`]: server.certificate,
        [`${settings.parameters}/key`]: server.key,
      },
    };
    await hold(holdings);
    environment = {
      ...process.env,
      PATH: `/test/bin:${process.env.PATH}`,
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      TRIES: "2",
    };
    for (const { path, content, isProgram } of builderFiles(settings))
      await root.write(path, content, isProgram ? 0o755 : 0o644);
    await standIns();
    const loopback = fileURLToPath(new URL("../support/servers/aws-on-loopback.ts", import.meta.url));
    root.start([process.execPath, loopback, String(awsPort), join(folder, "holdings.json")], process.env);
    device = await disk();
    await succeed("ln", "-s", device, `/dev/disk/by-id/${settings.cacheDevice}`);
    // Where cloud-init has to be installed first.
  }, 600_000);

  afterAll(async () => {
    await root[Symbol.asyncDispose]();
    await promisify(execFile)("losetup", ["--detach", device]);
    await rm(folder, { recursive: true, force: true });
  });

  async function install(packages: readonly string[]): Promise<void> {
    const apt = "apt-get -q update && apt-get -q install -y --no-install-recommends";
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const { code, stderr } = await root.run(["sh", "-c", `${apt} ${packages.join(" ")}`], {
      env,
      network: true,
    });
    if (code !== 0) throw new Error(`${packages.join(" ")} can't be installed: ${stderr}`);
  }

  /** What the set-up built for this machine, as a builder would get it. */
  async function setUpPrograms(): Promise<{ name: string; path: string; sha256: string }[]> {
    const runcFolder = dirname(realTool("runc"));
    const real = (await readdir(runcFolder)).filter((name) => name === "runc.real");
    const paths = [realTool("buildkitd"), realTool("runc"), ...real.map((name) => join(runcFolder, name))];
    return await Promise.all(
      paths.map(async (path) => ({
        name: basename(path),
        path,
        sha256: createHash("sha256")
          .update(await readFile(path))
          .digest("hex"),
      })),
    );
  }

  /** The real client, pointed at the loopback interface; and notes of what only a booted Amazon Linux has. */
  async function standIns(): Promise<void> {
    const real = client ?? "/usr/bin/aws";
    await root.write(
      "/test/bin/aws",
      `#!/bin/sh\nexec ${real} --endpoint-url http://127.0.0.1:${awsPort} "$@"\n`,
      0o755,
    );
    for (const name of ["systemctl", "dnf"])
      await root.write(`/test/bin/${name}`, `#!/bin/sh\necho ${name} "$@" >>/test/calls\n`, 0o755);
  }

  /** A disk that is a file, under a name of its own in the root folder's /dev. */
  async function disk(): Promise<string> {
    const file = join(folder, "disk");
    await writeFile(file, "");
    await truncate(file, 4 * 2 ** 30);
    const { stdout } = await promisify(execFile)("losetup", ["--find", "--show", file]);
    const [name = "", minor = ""] = /^\/dev\/loop(\d+)/.exec(stdout) ?? [];
    await succeed("mknod", name, "b", "7", minor);
    return name;
  }

  /** What the unit starts buildkitd with. */
  async function commandOf(unit: string): Promise<string[]> {
    const [, line = ""] = /^ExecStart=(.+)$/m.exec(await succeed("cat", `/etc/systemd/system/${unit}`)) ?? [];
    return line.split(" ");
  }

  /** Asks the builder for its workers, as a client with these certificates. */
  function ask(tls: { readonly ca: string } & Partial<KeyAndCertificate>): Promise<Ended> {
    return writeAndAsk(tls, ["debug", "workers", "--format", "{{json .}}"]);
  }

  async function writeAndAsk(
    tls: { readonly ca: string } & Partial<KeyAndCertificate>,
    command: readonly string[],
  ): Promise<Ended> {
    const shown: string[] = [];
    for (const [option, pem] of [
      ["--tlscacert", tls.ca],
      ["--tlscert", tls.certificate],
      ["--tlskey", tls.key],
    ] as const) {
      if (pem === undefined) continue;
      const path = `/test/tls/${option.slice("--tls".length)}.pem`;
      await root.write(path, pem, 0o600);
      shown.push(option, path);
    }
    const address = ["--addr", "tcp://127.0.0.1:1234", "--tlsservername", serverName, "--timeout", "5"];
    return await run(realTool("buildctl"), ...address, ...shown, ...command);
  }

  async function ownClient(of: KeyAndCertificate = authority): Promise<{ ca: string } & KeyAndCertificate> {
    const made = await issueCertificate(of, { commonName: "client", names: [], side: "client", days: 1 });
    return { ca: authority.certificate, ...made };
  }

  withCloudInit("cloud-init finds nothing wrong, and writes every file byte for byte", async () => {
    const text = userData(settings);
    await root.write("/test/user-data", text);
    expect(await succeed("cloud-init", "schema", "--config-file", "/test/user-data")).toMatch(/Valid/i);
    const files = builderFiles(settings);
    await succeed("rm", ...files.map(({ path }) => path));
    const once = ["--frequency", "always"];
    await run("cloud-init", "--file", "/test/user-data", "single", "--name", "write_files", ...once);
    for (const { path, content, isProgram } of files) {
      expect([path, await succeed("cat", path)]).toEqual([path, content]);
      expect([path, (await succeed("stat", "--format=%a", path)).trim()]).toEqual([
        path,
        isProgram ? "755" : "644",
      ]);
    }
  });

  withClient(
    "a program with other bytes than the pinned is not installed, and nothing is started",
    async () => {
      const key = `stagex-programs/programs/${settings.programs.runc}`;
      const forged = join(folder, "forged");
      await writeFile(forged, "#!/bin/sh\necho not runc\n");
      await hold({ ...holdings, objects: { ...holdings.objects, [key]: forged } });
      const { code, stderr } = await run("/opt/stagex/sbin/stagex-start");
      expect(code).toBe(1);
      expect(stderr).toContain("stagex-install: runc is not the one that was pinned");
      expect((await run("ls", "-A", "/opt/stagex/bin")).stdout).toBe("buildkitd\n");
      expect((await run("cat", "/test/calls")).stdout).not.toContain("start");
      await hold(holdings);
    },
  );

  withClient("the first boot installs the pinned programs and starts the units", async () => {
    await succeed("/opt/stagex/sbin/stagex-start");
    for (const [name, sha256] of Object.entries(settings.programs))
      expect(await succeed("sha256sum", `/opt/stagex/bin/${name}`)).toContain(sha256);
    const calls = await succeed("cat", "/test/calls");
    expect(calls).toContain("systemctl enable buildkitd.service stagex-minute.timer\n");
    expect(calls).toContain("systemctl start --no-block buildkitd.service stagex-minute.timer\n");
    // Nothing is installed but what is pinned.
    expect(calls).not.toContain("dnf");
  });

  withSystemd("systemd finds nothing wrong with the units", async () => {
    const units = [
      "buildkitd.service",
      "stagex-cache.service",
      "stagex-minute.service",
      "stagex-minute.timer",
    ];
    const { code, stderr } = await run(
      "systemd-analyze",
      "verify",
      "--man=no",
      ...units.map((unit) => `/etc/systemd/system/${unit}`),
    );
    expect([code, stderr]).toEqual([0, ""]);
  });

  test("the cache's disk gets a file system once, and keeps what is on it", async () => {
    await succeed("/opt/stagex/sbin/stagex-cache");
    expect(await succeed("findmnt", "-no", "FSTYPE,OPTIONS", "/var/lib/buildkit")).toMatch(
      /ext4 .*nodev.*noatime/,
    );
    await succeed("touch", "/var/lib/buildkit/kept");
    await succeed("umount", "/var/lib/buildkit");
    await succeed("/opt/stagex/sbin/stagex-cache");
    await succeed("test", "-e", "/var/lib/buildkit/kept");
    await succeed("/opt/stagex/sbin/stagex-cache");
  });

  withClient("certificates are fetched into memory, and renewed ones are noticed", async () => {
    const fetch = "/opt/stagex/sbin/stagex-certificates";
    await succeed(fetch);
    expect(await succeed("findmnt", "-no", "FSTYPE", "--target", "/run/stagex/tls")).toBe("tmpfs\n");
    expect(await succeed("stat", "--format=%a", "/run/stagex/tls/key.pem")).toBe("600\n");
    expect((await run(fetch)).code).toBe(10);
    const renewed = await issueCertificate(authority, {
      commonName: "intel-1",
      names: [serverName],
      side: "server",
      days: 1,
    });
    await hold({
      ...holdings,
      parameters: {
        ...holdings.parameters,
        [`${settings.parameters}/certificate`]: renewed.certificate,
        [`${settings.parameters}/key`]: renewed.key,
      },
    });
    await succeed(fetch);
    expect((await succeed("cat", "/run/stagex/tls/certificate.pem")).trim()).toBe(renewed.certificate.trim());
  });

  withClient("buildkitd answers who has a certificate of the fleet's, and nobody else", async () => {
    const [daemon = "", ...args] = await commandOf("buildkitd.service");
    const path = `/opt/stagex/bin:${process.env.PATH}`;
    root.start([daemon, ...args], { ...environment, PATH: path });
    const own = await ownClient();
    let answer = await ask(own);
    for (let tries = 0; answer.code !== 0 && tries < 60; tries += 1) {
      await later(500);
      answer = await ask(own);
    }
    expect([answer.code, answer.stderr]).toEqual([0, ""]);
    expect(answer.stdout).toContain("linux");

    // TLS 1.3 tells the client of it after the handshake: by its word, or by hanging up.
    const refused = expect.stringMatching(/certificate|broken pipe|reset by peer|EOF/);
    const bare = await ask({ ca: authority.certificate });
    expect([bare.code, bare.stdout, bare.stderr]).toEqual([1, "", refused]);
    const foreign = await createAuthority("test builders", 1);
    const stranger = await ask(await ownClient(foreign));
    expect([stranger.code, stranger.stdout, stranger.stderr]).toEqual([1, "", refused]);
    // And the client, a builder that is none of its fleet's.
    const impostor = await ask({ ...(await ownClient()), ca: foreign.certificate });
    expect([impostor.code, impostor.stderr]).toEqual([1, expect.stringContaining("unknown authority")]);
    expect((await ask(own)).code).toBe(0);
  });

  withClient("it builds, with the runc that it was given and its cache on the disk", async () => {
    await root.write(
      "/test/build/Containerfile",
      'FROM scratch\nCOPY tool /tool\nRUN ["/tool", "--version"]\n',
    );
    await succeed("cp", realTool("buildctl"), "/test/build/tool");
    const built = await writeAndAsk(await ownClient(), [
      ...["build", "--progress=plain", "--frontend", "dockerfile.v0", "--opt", "filename=Containerfile"],
      ...[
        "--opt",
        "force-network-mode=none",
        "--local",
        "context=/test/build",
        "--local",
        "dockerfile=/test/build",
      ],
    ]);
    expect([built.code, built.stderr]).toEqual([0, expect.stringContaining("github.com/moby/buildkit")]);
    expect((await succeed("ls", "/var/lib/buildkit")).split("\n")).toContain("runc-overlayfs");
  });

  withClient("what is added to the logs goes to streams of the builder's own, once", async () => {
    const logs = "/opt/stagex/sbin/stagex-logs";
    const log = (name: string) => `/var/log/${name}`;
    await root.write(log("cloud-init-output.log"), "first boot\n");
    await root.write(log("buildkitd.log"), 'one\n\ntwo "quoted" \u001b[31m\nnot yet who');
    await succeed(logs);
    const sent = async (): Promise<string[]> =>
      (await succeed("cat", join(folder, "holdings.json.log"))).trimEnd().split("\n");
    expect(await sent()).toEqual([
      "/stagex/stagex intel-1 one",
      '/stagex/stagex intel-1 two "quoted" \u001b[31m',
      "/stagex/stagex intel-1-first-boot first boot",
    ]);
    await succeed("sh", "-c", `printf 'le\\n' >>${log("buildkitd.log")}`);
    await succeed(logs);
    await succeed(logs);
    expect((await sent()).slice(3)).toEqual(["/stagex/stagex intel-1 not yet whole"]);

    // More than a batch, of bytes that are no text, and then the whole file is cut, as logrotate does.
    await succeed("sh", "-c", `head -c 700000 /dev/zero | tr '\\0' '\\377' >>${log("buildkitd.log")}`);
    await succeed("sh", "-c", `yes x | head -n 30000 >>${log("buildkitd.log")}`);
    await succeed(logs);
    expect((await sent()).filter((line) => line.endsWith(" x"))).toHaveLength(30_000 - 1);
    await root.write(log("buildkitd.log"), "rotated\n");
    await hold({ ...holdings, isLogDown: true });
    expect((await run(logs)).code).not.toBe(0);
    await hold(holdings);
    await succeed(logs);
    expect((await sent()).at(-1)).toBe("/stagex/stagex intel-1 rotated");
  });

  withClient("a recipe brings no frontend of its own", async () => {
    await root.write("/test/foreign/Containerfile", "# syntax=registry.invalid/frontend\nFROM scratch\n");
    const options = ["--opt", "filename=Containerfile", "--local", "context=/test/foreign"];
    const built = await writeAndAsk(await ownClient(), [
      ...["build", "--progress=plain", "--frontend", "dockerfile.v0", "--local", "dockerfile=/test/foreign"],
      ...options,
    ]);
    expect([built.code, built.stderr]).toEqual([1, expect.stringMatching(/gateway\.v0/)]);
    expect(built.stderr).not.toContain("registry.invalid/frontend:latest");
  });

  withClient(
    "a minute counts as idle while nobody is connected, and enough of them stop the machine",
    async () => {
      const minute = "/opt/stagex/sbin/stagex-minute";
      await succeed("sh", "-c", ": >/test/calls");
      root.start(
        ["bash", "-c", "echo $$ >/test/connected; exec 3<>/dev/tcp/127.0.0.1/1234; exec sleep 60"],
        environment,
      );
      await later(500);
      await succeed(minute);
      expect(await succeed("cat", "/run/stagex/idle-minutes")).toBe("0\n");
      await succeed("sh", "-c", "kill $(cat /test/connected)");
      await later(500);
      for (let minutes = 1; minutes <= 2; minutes += 1) {
        await succeed(minute);
        expect(await succeed("cat", "/run/stagex/idle-minutes")).toBe(`${minutes}\n`);
      }
      expect(await succeed("cat", "/test/calls")).toBe("");
      await succeed(minute);
      expect(await succeed("cat", "/test/calls")).toBe("systemctl poweroff\n");
    },
  );
});
