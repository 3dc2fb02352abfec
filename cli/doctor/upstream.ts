import type { Docker } from "../../tools/docker.ts";
import { findExecutable, queryVersion } from "../../tools/executable.ts";
import { compareVersions, formatVersion, type Version } from "../../tools/version.ts";
import { type Check, ok, type Section } from "./check.ts";

/**
 * The programs that StageX's own README and scripts need. Here only signing with a smart card needs
 * one of them: gpg.
 */
const programs: readonly { name: string; args: readonly string[]; minimum: Version; mend: string }[] = [
  { name: "gpg", args: ["--version"], minimum: [2, 2, 0], mend: "apt-get install gnupg" },
  { name: "jq", args: ["--version"], minimum: [1, 6, 0], mend: "apt-get install jq" },
  { name: "bash", args: ["--version"], minimum: [5, 0, 0], mend: "apt-get install bash" },
];
const oldestDocker: Version = [29, 1, 5];
const oldestBuildx: Version = [0, 30, 1];

const install = "https://docs.docker.com/engine/install/";

/** Checks what only StageX's own scripts need. */
export async function checkUpstreamPrograms(
  environment: NodeJS.ProcessEnv,
  docker: Docker | null,
): Promise<Section> {
  const checks = [
    versionCheck("docker", docker?.client ?? null, oldestDocker, install),
    versionCheck("docker buildx", docker?.buildx ?? null, oldestBuildx, install),
    storeCheck(docker),
    ...(await Promise.all(
      programs.map(async ({ name, args, minimum, mend }) => {
        const path = await findExecutable(name, environment);
        return versionCheck(
          name,
          path === null ? null : await queryVersion(path, args, environment),
          minimum,
          mend,
        );
      }),
    )),
  ];
  return { title: "Only for StageX's own scripts", checks };
}

function versionCheck(name: string, found: Version | null, minimum: Version, mend: string): Check {
  const isEnough = found !== null && compareVersions(found, minimum) >= 0;
  const words = [found === null ? "none" : formatVersion(found), formatVersion(minimum)] as const;
  return isEnough ? ok(name, ...words) : { name, found: words[0], minimum: words[1], verdict: "lacks", mend };
}

function storeCheck(docker: Docker | null): Check {
  const name = "docker's image store";
  if (docker?.usesContainerdStore) return ok(name, "containerd's", "containerd's");
  const found = docker?.server ? "Docker's own, which changes digests" : "none";
  const mend = docker?.server
    ? 'put {"features": {"containerd-snapshotter": true}} into /etc/docker/daemon.json, then restart Docker'
    : docker
      ? "start Docker"
      : install;
  return { name, found, minimum: "containerd's", verdict: "lacks", mend };
}
