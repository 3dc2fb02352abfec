import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type grpc from "@grpc/grpc-js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import { projectRoot } from "../../../lib/paths.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { Store } from "../../../oci/store/store.ts";
import {
  decodeProperties,
  encodeProperties,
  type PropertyMap,
} from "../../../providers/stagex/protocol/property-values.ts";
import { ProviderProcess } from "../programs/provider-process.ts";
import { FaultyRegistry } from "../servers/faulty-registry.ts";
import { RegistryServer } from "../servers/registry-server.ts";
import { type WrittenLayout, writeLayout } from "./image-layout.ts";
import { MaintainerFiles } from "./maintainer-files.ts";
import { newKey, type People } from "./maintainers.ts";

/** An image in the store, signed or not, and the inputs with which a program would publish it. */
export type Candidate = {
  readonly name: string;
  readonly layout: WrittenLayout;
  /** Of the first platform's manifest. */
  readonly digest: Digest;
  readonly reference: string;
  readonly inputs: PropertyMap;
};

/** The details of a resource that was created but is not ready. */
export type Unready = { readonly outputs: PropertyMap; readonly reasons: readonly string[] };

/**
 * A project that publishes: two maintainers, a store, a lookaside and the real provider. A proxy
 * that fails on demand stands before the real registry.
 */
export class Publishing implements AsyncDisposable {
  readonly folder: string;
  readonly server: RegistryServer;
  readonly proxy: FaultyRegistry;
  readonly files: MaintainerFiles;
  readonly people: People;
  readonly store: Store;
  provider: ProviderProcess;
  readonly config: PropertyMap;

  private constructor(
    parts: Pick<
      Publishing,
      "folder" | "server" | "proxy" | "files" | "people" | "store" | "provider" | "config"
    >,
  ) {
    this.folder = parts.folder;
    this.server = parts.server;
    this.proxy = parts.proxy;
    this.files = parts.files;
    this.people = parts.people;
    this.store = parts.store;
    this.provider = parts.provider;
    this.config = parts.config;
  }

  /** @param folder of an existing project; a new one by default */
  static async start(folder?: string): Promise<Publishing> {
    const place = folder ?? (await mkdtemp(join(tmpdir(), "stagex-publishing-")));
    const server = await RegistryServer.start();
    const proxy = await FaultyRegistry.before(server.host);
    const files = new MaintainerFiles(place);
    const people = {
      alice: { keys: [await newKey("alice")], brands: ["Intel"] },
      bob: { keys: [await newKey("bob")], brands: ["AMD"] },
    };
    await files.write(people);
    const store = await Store.open(join(place, ".stagex/store"));
    const config = {
      tree: join(projectRoot, "examples/seed-tree"),
      maintainers: "MAINTAINERS",
      keys: "keys",
      signatures: "signatures",
    };
    const provider = await ProviderProcess.start({ cwd: place });
    await provider.configure(config);
    return new Publishing({ folder: place, server, proxy, files, people, store, provider, config });
  }

  /** Starts a further provider process, with the same or other settings, for two runs at once. */
  async anotherProvider(
    options: { config?: PropertyMap; env?: NodeJS.ProcessEnv } = {},
  ): Promise<ProviderProcess> {
    const env = options.env === undefined ? {} : { env: options.env };
    const provider = await ProviderProcess.start({ cwd: this.folder, ...env });
    await provider.configure({ ...this.config, ...options.config });
    return provider;
  }

  /**
   * Writes an image, layers of its own included, into the store. `signers` sign each of its
   * manifests.
   */
  async image(
    label: string,
    options: { platforms?: readonly string[]; signers?: readonly string[] } = {},
  ): Promise<Candidate> {
    const { platforms = ["linux/amd64"], signers = ["alice", "bob"] } = options;
    const name = `core-${createHash("sha256").update(label).digest("hex").slice(0, 12)}`;
    const layout = await writeLayout(await mkdtemp(join(this.folder, "layout-")), {
      platforms: Object.fromEntries(
        platforms.map((platform) => [
          platform,
          { layers: [[{ name: "name", content: label }], [{ name: "platform", content: platform }]] },
        ]),
      ),
    });
    await this.store.adopt(layout.folder);
    const digest = layout.manifests[0] ?? digestOf("");
    const reference = `stagex/${name}:1.0`;
    for (const manifest of layout.manifests)
      for (const signer of signers)
        await this.files.sign(this.people, signer, { reference, digest: manifest });
    const several = platforms.length > 1;
    const digests = Object.fromEntries(
      platforms.map((platform, at) => [platform, layout.manifests[at] ?? ""]),
    );
    const inputs = {
      image: name,
      reference,
      tags: ["1.0", "sx2026.03.0", "latest"],
      digest,
      ...(several ? { digests, index: layout.index } : {}),
      quorum: { met: true, accepted: [] },
      destinations: [`${this.proxy.host}/stagex`],
      lookaside: "public",
    };
    return { name, layout, digest, reference, inputs };
  }

  /** Returns the digest that each tag of an image points at, by tag. */
  async tags({ name }: Candidate): Promise<Record<string, string | null>> {
    const repository = `stagex/${name}`;
    const found = await this.server.tagsOf(repository);
    return Object.fromEntries(
      await Promise.all(
        found.map(async (tag) => [tag, await this.server.digestOf(repository, tag)] as const),
      ),
    );
  }

  async create(
    inputs: PropertyMap,
    options: { preview?: boolean; provider?: ProviderProcess } = {},
  ): Promise<PropertyMap> {
    return await (options.provider ?? this.provider).create(urnOf(inputs), inputs, options.preview);
  }

  async update(inputs: PropertyMap, olds: PropertyMap): Promise<PropertyMap> {
    const request = new messages.UpdateRequest();
    request.setUrn(urnOf(inputs));
    request.setId(String(inputs.image));
    request.setOlds(encodeProperties(olds));
    request.setNews(encodeProperties(inputs));
    return decodeProperties((await this.provider.call("update", request)).getProperties());
  }

  /** Refreshes without drift. */
  async read(inputs: PropertyMap, outputs: PropertyMap): Promise<PropertyMap> {
    const request = new messages.ReadRequest();
    request.setUrn(urnOf(inputs));
    request.setId(String(inputs.image));
    request.setInputs(encodeProperties(inputs));
    request.setProperties(encodeProperties(outputs));
    return decodeProperties((await this.provider.call("read", request)).getProperties());
  }

  /** Refreshes with drift. */
  async drift(inputs: PropertyMap, outputs: PropertyMap): Promise<Unready> {
    const error = await this.read(inputs, outputs).then(
      () => Promise.reject(new Error("nothing has drifted")),
      (found: grpc.ServiceError) => found,
    );
    const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
    if (!Buffer.isBuffer(details)) throw error;
    const [detail] = statusMessages.Status.deserializeBinary(details).getDetailsList();
    const failed = messages.ErrorResourceInitFailed.deserializeBinary(
      detail?.getValue_asU8() ?? new Uint8Array(),
    );
    return { outputs: decodeProperties(failed.getProperties()), reasons: failed.getReasonsList() };
  }

  async delete(inputs: PropertyMap, outputs: PropertyMap): Promise<void> {
    const request = new messages.DeleteRequest();
    request.setUrn(urnOf(inputs));
    request.setId(String(inputs.image));
    request.setProperties(encodeProperties(outputs));
    await this.provider.call("delete", request);
  }

  /** Returns everything that the provider displayed, wrote and answered, as text. */
  shown(provider = this.provider): string {
    return [...provider.log.map(({ message }) => message), ...provider.stdout, provider.stderr].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.provider[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Returns the urn of an image's publication, as the release stack has it. */
export function urnOf({ image }: PropertyMap): string {
  return `urn:pulumi:dev::stagex::stagex:index:Release$stagex:index:Publication::${String(image)}`;
}
