import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { projectRoot } from "../../lib/paths.ts";
import { createAuthority, type KeyAndCertificate } from "../../trust/certificate-authority.ts";
import { Project, publishedDigests } from "../support/builders/project.ts";
import { addSleepingImage } from "../support/builders/sleeping-image.ts";
import { describeReal } from "../support/real-tools.ts";
import { freePort, TlsDaemon } from "../support/servers/tls-daemon.ts";

const execute = promisify(execFile);

const keyAndCertificate = z.object({ certificate: z.string(), key: z.object({ plaintext: z.string() }) });
const state = z.object({
  deployment: z.object({
    resources: z.array(z.object({ urn: z.string(), outputs: z.record(z.string(), z.unknown()).default({}) })),
  }),
});

/** Returns the commands of docs/aws.md, block by block. */
async function documentedBlocks(): Promise<string[]> {
  const page = await readFile(join(projectRoot, "docs/aws.md"), "utf8");
  return [...page.matchAll(/^```\n(.*?)^```/gms)].map(([, block = ""]) => block);
}

/** The one block that does this. */
async function documented(what: string): Promise<string> {
  const [block, ...others] = (await documentedBlocks()).filter((each) => each.includes(what));
  if (block === undefined || others.length > 0) throw new Error(`docs/aws.md has not one block with ${what}`);
  return block;
}

describeReal("docs/aws.md, with what AWS would do done on loopback", () => {
  let project: Project;
  let port: number;
  const daemons: TlsDaemon[] = [];

  beforeAll(async () => {
    project = await Project.create();
    await cp(
      join(projectRoot, "test/support/fleet-on-loopback.ts"),
      join(project.folder, "components/builder-fleet/aws.ts"),
    );
    // What `npm run pulumi` comes to, where nobody answers questions.
    const commands = join(project.folder, "commands");
    await mkdir(commands);
    const npm = `#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
case $1 in up) set -- "$@" --yes ;; esac
exec pulumi "$@" --non-interactive --color never
`;
    await writeFile(join(commands, "npm"), npm, { mode: 0o755 });
    // The one thing that the page asks AWS before there is a fleet.
    const aws = `#!/bin/sh
case "$*" in
  "ssm get-parameter --region us-east-2 --name /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64 --query Parameter.Value --output text")
    echo ami-0123456789abcdef0 ;;
  *) echo "not understood: $*" >&2; exit 1 ;;
esac
`;
    await writeFile(join(commands, "aws"), aws, { mode: 0o755 });
    project.environment.PATH = [commands, project.environment.PATH].join(delimiter);
    // Two that lie beside each other.
    port = await freePort();
  });

  afterAll(async () => {
    for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
    await project[Symbol.asyncDispose]();
  });

  /** Runs commands in the project's folder as a user's shell does, and stops at the first that fails. */
  async function shell(commands: string, passphrase = "of the team"): Promise<string> {
    const { stdout, stderr } = await execute("sh", ["-e", "-c", commands], {
      cwd: project.folder,
      env: { ...project.environment, PULUMI_CONFIG_PASSPHRASE: passphrase },
      maxBuffer: 1 << 26,
    });
    return stdout + stderr;
  }

  /** A resource of the fleet's, as its stack has it. */
  async function made(name: string, stack = "fleet"): Promise<KeyAndCertificate> {
    const text = await shell(`pulumi stack export --show-secrets --stack ${stack}`);
    const { resources } = state.parse(JSON.parse(text)).deployment;
    const found = resources.find(({ urn }) => urn.endsWith(`::${name}`));
    const { certificate, key } = keyAndCertificate.parse(found?.outputs);
    return { certificate, key: JSON.parse(key.plaintext) };
  }

  /** The machines of a stack's fleet, at the ends of their tunnels. */
  async function startMachines(stack: string): Promise<void> {
    const authority = await made("stagex-authority", stack);
    const servers = [
      await made("stagex-intel-1-certificate", stack),
      await made("stagex-amd-1-certificate", stack),
    ];
    for (const [index, server] of servers.entries())
      daemons.push(await TlsDaemon.start({ credentials: { authority, server }, port: port + index }));
  }

  test.for(["fleet", "reproduce"])(
    "a stack %s with machines on AWS and without a passphrase is refused, and makes nothing",
    async (stack) => {
      const settings = `pulumi stack init open
pulumi config set stagex:stack ${stack}
pulumi config set stagex:tree tree
pulumi config set stagex:images '["user-hello"]'
pulumi config set stagex:aws '{"ami":{"amd64":"ami-0123456789abcdef0"}}'`;
      await shell(settings, "");
      const failure = await shell("npm run -- up", "").then(
        () => "it came up",
        ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr,
      );
      expect(failure).toMatch(/stack open is encrypted with the empty passphrase/);
      expect(failure).toContain("pulumi stack change-secrets-provider passphrase --stack open");
      expect(await shell("pulumi stack export --stack open", "")).not.toMatch(/Authority|Certificate|BEGIN/);
      await shell("pulumi destroy --yes --stack open; pulumi stack rm --yes --stack open", "");
    },
  );

  test("the fleet comes up, says how it is reached, and what it costs", async () => {
    const block = (await documented("stack init fleet")).replace(/^export .*\n/, "");
    const prices = `{"date":"2026-03-01","currency":"USD","perHour":{"m8i.2xlarge":2,"m8a.2xlarge":3}}`;
    const output = await shell(
      block
        .replace('"size":"small",', `"size":"small","localPort":${port},`)
        .replace("npm run pulumi -- preview", `npm run -- config set stagex:prices '${prices}'\n$&`),
    );
    expect(output).toMatch(/1 m8i\.2xlarge \+ 1 m8a\.2xlarge: 5\.00 USD an hour while they run/);
    const tunnels = JSON.parse(await shell((await documented("output tunnels")).replace(/#.*/, "")));
    expect(Object.keys(tunnels).sort()).toEqual(["amd-1", "intel-1"]);
    expect(tunnels["amd-1"]).toContain(`--target i-amd-1`);
    expect(tunnels["amd-1"]).toContain(`localPortNumber=${port + 1}`);
    expect(await shell("pulumi config get stagex:aws")).toContain('"ami":{"amd64":"ami-0123456789abcdef0"}');
    const folder = await stat(join(project.folder, ".stagex"));
    expect((folder.mode & 0o777).toString(8)).toBe("700");
  });

  test("the client's certificate gets to its files, which nobody else reads, and no other copy stays", async () => {
    await shell(await documented("stack output client"));
    const folder = join(project.folder, ".stagex/fleet");
    expect((await readdir(folder)).sort()).toEqual(["ca.pem", "certificate.pem", "key.pem"]);
    for (const name of ["ca.pem", "certificate.pem", "key.pem"])
      expect(((await stat(join(folder, name))).mode & 0o077).toString(8)).toBe("0");
    expect((await readFile(join(folder, "key.pem"), "utf8")).trim()).toBe(
      (await made("stagex-client-certificate")).key.trim(),
    );
  });

  test("another stack builds on it with what the fleet says of itself, each image on both vendors", async () => {
    await startMachines("fleet");
    const block = await documented("stack output builders");
    const output = await shell(
      block
        .replace(/'https:\/\/codeberg\.org[^']*'/, "tree")
        .replace("npm run pulumi -- preview", `npm run -- config set stagex:images '["user-hello"]'\n$&`),
    );
    expect(output).toMatch(/stagex:index:Builder amd-1 created/);
    const images = JSON.parse(await shell("pulumi stack output images --json"));
    expect(Object.keys(images).length).toBeGreaterThan(1);
    expect(await publishedDigests(project.tree)).toMatchObject(images);
    expect(await vendorsOf("user-hello")).toEqual(["AuthenticAMD", "GenuineIntel"]);
    // Its credentials are the fleet's, and in this state too encrypted alone.
    expect(await shell("pulumi stack export")).not.toMatch(/BEGIN (CERTIFICATE|PRIVATE KEY)/);
  });

  /** On whose CPUs an image was built, by the ledger. */
  async function vendorsOf(image: string): Promise<string[]> {
    const ledger = join(project.folder, ".stagex/ledger");
    const names = (await readdir(ledger, { recursive: true })).filter((name) => name.endsWith(".json"));
    const records = await Promise.all(
      names.map(async (name) => JSON.parse(await readFile(join(ledger, name), "utf8"))),
    );
    return records
      .filter((record) => record.image === image)
      .map(({ builder }) => String(builder.facts.cpuVendor))
      .sort();
  }

  test("without its certificate nobody builds there: the builder says so, and the run ends", async () => {
    const stranger = await daemons[0]?.client({ authority: await createAuthority("somebody else's", 1) });
    const folder = join(project.folder, ".stagex/fleet");
    await cp(stranger?.cert ?? "", join(folder, "certificate.pem"));
    await cp(stranger?.key ?? "", join(folder, "key.pem"));
    await project.edit("packages/user/hello/Containerfile", (text) => `${text}LABEL another=1\n`);
    const ended = shell("npm run -- config set stagex:verify false; npm run -- up");
    const failure = await ended.then(
      () => "it built",
      ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr,
    );
    expect(failure).toMatch(/Builder \(amd-1\):\s+error: .* it refuses our certificate/);
    expect(failure).toMatch(/user-hello.*\n?.*none of the builders can be used/);
  });

  test("a fleet can live and die with the stack that builds: it waits for machines that are only just being made", async () => {
    for (const daemon of daemons.splice(0)) await daemon[Symbol.asyncDispose]();
    await shell(`pulumi stack init alone
pulumi config set stagex:tree tree
pulumi config set stagex:images '["user-another"]'
pulumi config set stagex:aws '{"ami":{"amd64":"ami-0123456789abcdef0"},"size":"small","localPort":${port}}'`);
    await addSleepingImage(project.tree, "another", 1);
    await project.commit("An image that nobody has built");
    const running = shell("npm run -- up");
    running.catch(() => undefined);
    await expect
      .poll(
        () =>
          startMachines("alone").then(
            () => true,
            () => false,
          ),
        { timeout: 120_000 },
      )
      .toBe(true);
    expect(await running).toMatch(/stagex:index:Builder intel-1 created/);
    expect(await vendorsOf("user-another")).toHaveLength(1);
    await shell("pulumi destroy --yes --stack alone");
    expect(await shell("pulumi stack export --stack alone")).not.toContain("stagex:index:");
  });
});
