import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { PrivateKey } from "openpgp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Digest, digestOf } from "../../oci/digest.ts";
import {
  type ClientPolicyInputs,
  createClientPolicy,
  writeClientPolicy,
} from "../../trust/client-policy/podman-policy.ts";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../../trust/signatures/lookaside-folder.ts";
import { signatureFolder } from "../../trust/signatures/signature-file.ts";
import { writeLayout } from "../support/builders/image-layout.ts";
import {
  daysFromNow,
  maintainersOf,
  newKey,
  otherDigest,
  payload,
  signedBy,
} from "../support/builders/maintainers.ts";
import { describeReal, realTool } from "../support/real-tools.ts";

/** Debian's clients, where the machine has them: `apt-get install skopeo podman`. Under CI it must. */
const onPath = (name: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, name)));
const describeClients =
  (onPath("skopeo") && onPath("podman")) || process.env.CI ? describeReal : describe.skip;

type Ended = { readonly code: number; readonly words: string };

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(command, args, { env: { ...process.env, ...env }, timeout: 120_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), words: stdout + stderr }),
    );
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

describeClients("stock clients, a real registry and a lookaside", () => {
  let root = "";
  let repository = "";
  let digest: Digest;
  let lookaside: LookasideFolder;
  let stopRegistry = () => {};
  let people: Record<"alice" | "bob" | "carol", PrivateKey>;
  const tag = "1.0";

  /** The payload for the image as it is pulled; what is given differs. */
  const said = (differs: Parameters<typeof payload>[0] = {}) =>
    payload({ reference: `${repository}:${tag}`, manifest: digest, ...differs });

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "stagex-clients-"));
    const port = await freePort();
    repository = `localhost:${port}/stagex/core-seed`;
    const config = [
      "version: 0.1",
      "log: {level: error, accesslog: {disabled: true}}",
      `storage: {filesystem: {rootdirectory: ${join(root, "registry")}}}`,
      `http: {addr: "127.0.0.1:${port}"}`,
    ];
    await writeFile(join(root, "registry.yml"), config.join("\n"));
    const registry = spawn(realTool("registry"), ["serve", join(root, "registry.yml")], { stdio: "ignore" });
    stopRegistry = () => registry.kill();
    for (let tries = 0; ; tries++) {
      const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined);
      if (answer?.ok) break;
      if (tries > 100) throw new Error("the registry does not start");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const layout = join(root, "layout");
    await writeLayout(layout, {
      platforms: { "linux/amd64": { layers: [[{ name: "hello", content: "hello" }]] } },
    });
    const pushed = await run("skopeo", [
      ...["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"],
      ...[`oci:${layout}`, `docker://${repository}:${tag}`],
    ]);
    if (pushed.code !== 0) throw new Error(pushed.words);
    const raw = await fetch(`http://127.0.0.1:${port}/v2/stagex/core-seed/manifests/${tag}`, {
      headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
    });
    digest = digestOf(new Uint8Array(await raw.arrayBuffer()));

    people = {
      alice: await newKey("alice"),
      bob: await newKey("bob", { type: "ecc", curve: "nistP256" }),
      carol: await newKey("carol", { type: "rsa", rsaBits: 2048 }),
    };
    const { alice, bob, carol } = people;
    const text = maintainersOf({ alice: { keys: [alice] }, bob: { keys: [bob] }, carol: { keys: [carol] } });
    lookaside = new LookasideFolder(join(root, "signatures"));
    const inputs = {
      roster: parseRoster(text),
      keyring: await Keyring.of(Object.values(people)),
      threshold: 2,
      lookaside: `file://${lookaside.folder}`,
    };
    const write = async (policy: Partial<ClientPolicyInputs> & { repository: string }, folder: string) =>
      writeClientPolicy(createClientPolicy({ ...inputs, ...policy }, folder), folder);
    await write({ repository }, join(root, "policy"));
    const namespace = repository.slice(0, repository.lastIndexOf("/"));
    await write({ repository: namespace, signedAs: "docker.io/stagex" }, join(root, "mirror-policy"));
    await mkdir(join(root, "home/.config/containers"), { recursive: true });
  });

  afterAll(async () => {
    stopRegistry();
    await rm(root, { recursive: true, force: true });
  });

  /** Puts these in place of the image's signatures. */
  async function signatures(...files: Uint8Array[]): Promise<void> {
    await rm(join(lookaside.folder, signatureFolder(parseRepository(repository), digest)), {
      recursive: true,
      force: true,
    });
    for (const file of files) await lookaside.write(parseRepository(repository), digest, file);
  }

  let pulls = 0;
  const clients: Record<string, (policy: string) => Promise<Ended>> = {
    skopeo: (policy) =>
      run("skopeo", [
        ...["--policy", join(policy, "policy.json"), "--registries.d", join(policy, "registries.d")],
        ...["copy", "--quiet", "--src-tls-verify=false", "--remove-signatures"],
        ...[`docker://${repository}:${tag}`, `dir:${join(root, `pulled-${++pulls}`)}`],
      ]),
    podman: async (policy) => {
      // podman has no flag for registries.d; it looks for one in the user's home.
      const home = join(root, `home-${++pulls}`);
      await mkdir(join(home, ".config/containers/registries.d"), { recursive: true });
      const lookasides = await readFile(join(policy, "registries.d/stagex.yaml"), "utf8");
      await writeFile(join(home, ".config/containers/registries.d/stagex.yaml"), lookasides);
      const storage = [
        "--root",
        join(home, "root"),
        "--runroot",
        join(home, "run"),
        "--storage-driver",
        "vfs",
      ];
      const pull = [
        "pull",
        "--quiet",
        "--tls-verify=false",
        "--signature-policy",
        join(policy, "policy.json"),
      ];
      return run("podman", [...storage, ...pull, `${repository}:${tag}`], {
        HOME: home,
        XDG_CONFIG_HOME: "",
      });
    },
  };

  describe.each(Object.keys(clients))("%s", (name) => {
    const pull = (policy = "policy") =>
      clients[name]?.(join(root, policy)) ?? Promise.reject(new Error(name));
    const expectRefused = async (words: RegExp) => {
      const { code, words: said } = await pull();
      expect(code, said).not.toBe(0);
      expect(said).toMatch(words);
    };

    test("refuses what nobody has signed", async () => {
      await signatures();
      await expectRefused(/signature was required, but no signature exists/);
    });

    test("refuses what one of two has signed", async () => {
      await signatures(await signedBy(people.alice, said()));
      await expectRefused(/Invalid GPG signature/);
    });

    test("refuses what one has signed twice", async () => {
      await signatures(
        await signedBy(people.alice, said()),
        await signedBy(people.alice, said({ optional: { again: true } }), { date: daysFromNow(-0.5) }),
      );
      await expectRefused(/None of the signatures were accepted.*Invalid GPG signature/s);
    });

    test("refuses a second signature that is of another tag", async () => {
      await signatures(
        await signedBy(people.alice, said()),
        await signedBy(people.bob, said({ reference: `${repository}:0.9` })),
      );
      await expectRefused(/Signature for identity .*0\.9.* is not accepted/s);
    });

    test("refuses a second signature that is of another (an older) manifest", async () => {
      await signatures(
        await signedBy(people.alice, said()),
        await signedBy(people.bob, said({ manifest: otherDigest })),
      );
      await expectRefused(/Signature for digest .*0bad.* does not match/s);
    });

    test("refuses a second signature that was tampered with", async () => {
      const tampered = Buffer.from(await signedBy(people.bob, said({ manifest: otherDigest })));
      tampered.write(digest, tampered.indexOf(otherDigest));
      await signatures(await signedBy(people.alice, said()), tampered);
      await expectRefused(/None of the signatures were accepted.*Invalid GPG signature/s);
    });

    test("refuses a second signature by a stranger", async () => {
      await signatures(await signedBy(people.alice, said()), await signedBy(await newKey("mallory"), said()));
      await expectRefused(/None of the signatures were accepted.*Invalid GPG signature/s);
    });

    test.each([
      ["alice", "bob"],
      ["alice", "carol"],
      ["carol", "bob"],
    ] as const)(
      "pulls what %s and %s have signed, whatever they claim of their machines",
      async (one, other) => {
        await signatures(
          await signedBy(people[one], said({ optional: { cpuVendor: "AuthenticAMD", arch: "amd64" } })),
          await signedBy(people[other], said({ optional: { cpuVendor: "GenuineIntel", timestamp: 1 } })),
        );
        expect(await pull()).toMatchObject({ code: 0 });
      },
    );

    test("pulls from a mirror what is signed under its first name, and nothing that is signed under others", async () => {
      const reference = `stagex/core-seed:${tag}`;
      await signatures(
        await signedBy(people.alice, said({ reference })),
        await signedBy(people.bob, said({ reference })),
      );
      expect(await pull("mirror-policy")).toMatchObject({ code: 0 });
      await expectRefused(/Signature for identity .* is not accepted/s);
    });
  });
});
