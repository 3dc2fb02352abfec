import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { inspectBuilder } from "../../buildkit/client/builder-facts.ts";
import { ConnectionError } from "../../buildkit/client/connection-error.ts";
import { queryDaemon } from "../../buildkit/client/daemon-query.ts";
import { type Endpoint, parseEndpoint } from "../../buildkit/client/endpoint.ts";
import { readTlsAlert } from "../../buildkit/client/tls-alert.ts";
import { createAuthority, issueCertificate } from "../../trust/certificate-authority.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

describeReal("a builder behind mutual TLS", () => {
  let daemon: TlsDaemon;

  beforeAll(async () => {
    daemon = await TlsDaemon.start();
  });

  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
  });

  const endpoint = (address: string, tls?: Endpoint["tls"]) =>
    parseEndpoint({ address, buildctl: realTool("buildctl"), ...(tls ? { tls } : {}) });

  async function refusal(address: string, tls?: Endpoint["tls"]): Promise<ConnectionError> {
    const error = await queryDaemon(endpoint(address, tls)).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof ConnectionError)) throw new Error(`not refused: ${String(error)}`);
    return error;
  }

  test("answers who has a certificate of its authority, and shows its CPU by running a program", async () => {
    const known = await inspectBuilder(endpoint(daemon.address, await daemon.client()), {
      scratch: join(daemon.folder, "scratch"),
    });
    expect(known).toMatchObject({
      vendorSource: "probe",
      facts: { buildkit: expect.stringMatching(/^v\d/) },
    });
    const cpuinfo = await readFile("/proc/cpuinfo", "utf8");
    if (process.arch === "x64") expect(cpuinfo).toContain(`: ${known.facts.cpuVendor}\n`);
    expect(known.facts.kernel).toBe((await readFile("/proc/sys/kernel/osrelease", "utf8")).trim());
  });

  test("refuses who has none", async () => {
    const { diagnosis: trouble } = await refusal(daemon.address);
    expect(trouble.message).toMatch(/does it want a client certificate|give `tls`/);
  });

  test("refuses a certificate of a foreign authority", async () => {
    const foreign = await createAuthority("somebody else's", 1);
    const { diagnosis: trouble } = await refusal(daemon.address, await daemon.client({ authority: foreign }));
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("a foreign CA"),
    });
  });

  test("says in the handshake whether it takes a certificate, whatever a client then hears", async () => {
    const foreign = await createAuthority("somebody else's", 1);
    const behind = async (...of: Parameters<typeof daemon.client>) =>
      endpoint(daemon.address, await daemon.client(...of));
    expect(await readTlsAlert(await behind({ authority: foreign }))).toMatch(/unknown ca|bad certificate/);
    expect(await readTlsAlert(await behind())).toBe(undefined);
    expect(await readTlsAlert({ ...(await behind()), address: "tcp://127.0.0.1:1" })).toBe(undefined);
  });

  test("refuses an expired certificate, and it is named", async () => {
    const { diagnosis: trouble } = await refusal(daemon.address, await daemon.client({ days: -0.001 }));
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("our certificate has expired"),
    });
  });

  test("is refused where another authority is expected", async () => {
    const foreign = await createAuthority("somebody else's", 1);
    const { diagnosis: trouble } = await refusal(daemon.address, await daemon.client({ ca: foreign }));
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("a wrong CA"),
    });
  });

  test("is refused with an expired certificate of its own", async () => {
    await using expired = await TlsDaemon.start({ days: -0.001 });
    const { diagnosis: trouble } = await refusal(expired.address, await expired.client());
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("its certificate has expired"),
    });
  });

  /** What is made as by a clock that is two days ahead. */
  async function ahead<Made>(make: () => Promise<Made>): Promise<Made> {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2 * 24 * 60 * 60 * 1000 });
    try {
      return await make();
    } finally {
      vi.useRealTimers();
    }
  }

  test("refuses a certificate of a clock that is ahead, and it is named", async () => {
    const { diagnosis: trouble } = await refusal(
      daemon.address,
      await ahead(() => daemon.client({ days: 3 })),
    );
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("set the clocks right"),
    });
    expect(trouble.message).toContain("our certificate is valid from");
  });

  test("is refused with a certificate of a clock that is ahead, and it is named", async () => {
    const authority = await createAuthority("the fleet's authority", 1);
    const subject = { commonName: "builder", names: ["127.0.0.1"], side: "server", days: 3 } as const;
    const server = await ahead(() => issueCertificate(authority, subject));
    await using early = await TlsDaemon.start({ credentials: { authority, server } });
    const { diagnosis: trouble } = await refusal(early.address, await early.client());
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("set the clocks right"),
    });
    expect(trouble.message).toContain("its certificate is valid from");
  });

  test("is refused with a certificate for another name, unless that is the name to expect", async () => {
    await using elsewhere = await TlsDaemon.start({ names: ["builder.internal"] });
    const tls = await elsewhere.client();
    const { diagnosis: trouble } = await refusal(elsewhere.address, tls);
    expect(trouble).toMatchObject({
      phase: "tls",
      isPermanent: true,
      message: expect.stringContaining("serverName"),
    });
    const named = endpoint(elsewhere.address, { ...tls, serverName: "builder.internal" });
    expect((await queryDaemon(named)).platforms).toContain(
      `linux/${process.arch === "x64" ? "amd64" : "arm64"}`,
    );
  });
});
