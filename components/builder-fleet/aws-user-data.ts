import { readFileSync } from "node:fs";
import { daemonConfig } from "../../buildkit/daemon/daemon-config.ts";

/** The settings of a builder. None is secret: whoever may describe instances can read them. */
export type BuilderSettings = {
  readonly region: string;
  readonly architecture: "amd64" | "arm64";
  /** The bucket with the programs, under `programs/<sha256>`. */
  readonly bucket: string;
  /** sha256 (64 hex digits) of each program, by its name. */
  readonly programs: Readonly<Record<string, string>>;
  /** The path in Systems Manager of `ca`, `certificate` and `key`. */
  readonly parameters: string;
  /** The name of the cache's disk below /dev/disk/by-id, or a pattern for it. */
  readonly cacheDevice: string;
  /** The number of builds that run at once. */
  readonly slots: number;
  /** Minutes without a connection after which the machine stops; 0 for never. */
  readonly idleMinutes: number;
  readonly logGroup: string;
  /** The builder's log stream; {@link logStreamNames} lists all of them. */
  readonly logStream: string;
};

/** Returns the log streams of a builder: of its daemon, and of its first boot. */
export function logStreamNames(builder: string): string[] {
  return [builder, `${builder}-first-boot`];
}

/** A file on a builder. */
export type BuilderFile = { readonly path: string; readonly content: string; readonly isProgram?: boolean };

/** EC2's limit for user data, in bytes, before base64. */
export const userDataLimit = 16 * 1024;

const scripts = [
  "stagex-start",
  "stagex-install",
  "stagex-cache",
  "stagex-certificates",
  "stagex-logs",
  "stagex-minute",
];
const units = ["buildkitd.service", "stagex-cache.service", "stagex-minute.service", "stagex-minute.timer"];

/**
 * Returns the cloud-config (cloud-init: "Cloud config data") that turns a bare Amazon Linux into a
 * builder.
 * @throws Error if it is larger than EC2 accepts
 */
export function userData(settings: BuilderSettings): string {
  const files = builderFiles(settings).map(fileEntry).join("\n");
  const text = `#cloud-config\nssh_pwauth: false\nwrite_files:\n${files}\nruncmd:\n  - [/opt/stagex/sbin/stagex-start]\n`;
  const size = Buffer.byteLength(text);
  if (size > userDataLimit)
    throw new Error(`a builder's user data has ${size} bytes, and EC2 takes ${userDataLimit}`);
  return text;
}

/** Returns the daemon's configuration. The daemon answers only clients with a certificate. */
export function buildkitdToml(settings: Pick<BuilderSettings, "slots">): string {
  return daemonConfig({
    top: `root = "/var/lib/buildkit"`,
    tables: `
[grpc]
  address = ["tcp://0.0.0.0:1234"]
  [grpc.tls]
    cert = "/run/stagex/tls/certificate.pem"
    key = "/run/stagex/tls/key.pem"
    ca = "/run/stagex/tls/ca.pem"

[worker.oci]
  enabled = true
  defaultCgroupParent = "stagex"
  max-parallelism = ${settings.slots}
  gc = true
  maxUsedSpace = "80%"
`,
  });
}

/** Returns the files that the first boot writes before it runs `stagex-start`. */
export function builderFiles(settings: BuilderSettings): BuilderFile[] {
  const programs = Object.entries(settings.programs).map(([name, sha256]) => `${sha256} ${name}\n`);
  return [
    { path: "/etc/stagex/builder.env", content: environment(settings) },
    { path: "/etc/stagex/programs", content: programs.join("") },
    { path: "/etc/buildkit/buildkitd.toml", content: buildkitdToml(settings) },
    ...scripts.map((name) => ({
      path: `/opt/stagex/sbin/${name}`,
      content: readBuilderFile(name),
      isProgram: true,
    })),
    ...units.map((name) => ({ path: `/etc/systemd/system/${name}`, content: readBuilderFile(name) })),
    ...(settings.architecture === "amd64" ? [dropIn("linux-386.conf")] : []),
    { path: "/etc/logrotate.d/buildkitd", content: readBuilderFile("logrotate") },
  ];
}

function dropIn(name: string): BuilderFile {
  return { path: `/etc/systemd/system/buildkitd.service.d/${name}`, content: readBuilderFile(name) };
}

/** Reads a file of the folder `builder`, which is copied to the machine unchanged. */
function readBuilderFile(name: string): string {
  return readFileSync(new URL(`builder/${name}`, import.meta.url), "utf8");
}

function environment(settings: BuilderSettings): string {
  const values = {
    REGION: settings.region,
    BUCKET: settings.bucket,
    PARAMETERS: settings.parameters,
    CACHE_DEVICE: settings.cacheDevice,
    IDLE_MINUTES: settings.idleMinutes,
    LOG_GROUP: settings.logGroup,
    LOG_STREAM: settings.logStream,
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}='${plain(String(value))}'\n`)
    .join("");
}

/**
 * Returns a value that a shell reads unchanged between single quotes.
 * @throws Error on any other: no bucket or region has such a name
 */
function plain(value: string): string {
  if (!/^[\w./:*-]+$/.test(value)) throw new Error(`${JSON.stringify(value)} can't be a builder's setting`);
  return value;
}

/**
 * Returns an entry of `write_files`. The content is a YAML block scalar (YAML 1.2, 8.1.2), which
 * keeps every byte of such text.
 */
function fileEntry({ path, content, isProgram }: BuilderFile): string {
  const lines = content.trimEnd().split("\n");
  const body = lines.map((line) => (line === "" ? "" : `      ${line}`)).join("\n");
  return `  - path: ${path}\n    permissions: "${isProgram ? "0755" : "0644"}"\n    content: |\n${body}`;
}
