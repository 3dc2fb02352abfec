import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createPlainServer, type RequestListener } from "node:http";
import { createServer } from "node:https";
import { connect } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { scopeOfAddress } from "../../lib/net/address-scope.ts";
import { jsonLimit } from "../../oci/blob.ts";
import { digestOf } from "../../oci/digest.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import { selfSigned } from "../support/builders/self-signed.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { hostileRegistry, listening } from "../support/servers/hostile-registry.ts";

const digest = digestOf("{}");
const host = "registry.example.org";
const authority = selfSigned(host);

async function ask(address: string, command: string): Promise<RegistryError | string> {
  const client = new RegistryClient(realTool("registry-client"));
  let printed = "";
  const to = () =>
    new Writable({
      write(chunk, _encoding, done) {
        printed += chunk;
        done();
      },
    });
  try {
    const args = command.split(" ").map((arg) => arg.replace("HOST", address));
    await client.run(args, { action: "asking it", openOutput: to, limit: jsonLimit });
    return printed;
  } catch (error) {
    if (error instanceof RegistryError) return error;
    throw error;
  }
}

/** Expects that a command fails for this reason. */
async function expectUnsafe(address: string, command: string, reason: string): Promise<void> {
  const error = await ask(address, command);
  if (!(error instanceof RegistryError)) throw new Error(`it did not fail: ${error}`);
  // Where it writes, go-containerregistry looks at some addresses before we do.
  if (error.message.includes("SSRF protection")) return expect(command).toMatch(/^delete/);
  expect(error.message).toContain(reason);
  expect(error.problem).toBe("unsafe");
}

/** This machine's addresses in whatever networks it is; none where it is in none. */
function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const own = all.filter(({ internal, address }) => !internal && scopeOfAddress(address) !== "link-local");
  return own.map(({ address, family }) => (family === "IPv6" ? `[${address}]` : address));
}

describeReal("a registry on the internet leads no client into private networks", () => {
  let answers: RequestListener = () => {};
  let asked: string[] = [];
  let victim = "";
  let reached = 0;
  const before = { ...process.env };

  // The registry is behind the user's proxy, by which alone a machine without a network can have one "on the internet".
  beforeAll(async () => {
    const registry = createServer({ key: authority.key, cert: authority.cert }, (request, response) => {
      asked.push(`${request.headers.host}${request.url}`);
      answers(request, response);
    }).listen(0, "127.0.0.1");
    await once(registry, "listening");
    const proxy = createPlainServer().listen(0, "127.0.0.1");
    proxy.on("connect", (_request, socket) => {
      const address = registry.address();
      const behind = connect(typeof address === "object" ? (address?.port ?? 0) : 0, "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        behind.pipe(socket);
        socket.pipe(behind);
      });
      behind.on("error", () => socket.destroy());
      socket.on("error", () => behind.destroy());
    });
    await once(proxy, "listening");
    const address = proxy.address();
    process.env.HTTPS_PROXY = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
    process.env.NO_PROXY = "10.255.255.1";
    const folder = await mkdtemp(join(tmpdir(), "stagex-test-"));
    process.env.SSL_CERT_FILE = join(folder, "authority.pem");
    await writeFile(process.env.SSL_CERT_FILE, authority.cert);
    afterAll(async () => {
      await rm(folder, { recursive: true });
      for (const server of [registry, proxy]) {
        server.closeAllConnections();
        server.close();
      }
      process.env = before;
    });
  });

  beforeEach(async () => {
    asked = [];
    reached = 0;
    answers = (_request, response) => response.end("{}");
    victim = await listening(
      createPlainServer((_request, response) => {
        reached += 1;
        response.end("{}");
      }).on("connection", () => {
        reached += 1;
      }),
    );
    onTestFinished(() => expect(reached).toBe(0));
  });

  test("asks the registry by https, through the proxy", async () => {
    expect(await ask(host, `manifest HOST/a/b@${digest}`)).toBe("{}");
    expect(asked).toEqual([`${host}/v2/`, `${host}/v2/a/b/manifests/${digest}`]);
  });

  test.each([
    ["https://VICTIM/", "a loopback address"],
    ["https://localhost/", "a loopback address"],
    ["https://x.localhost/", "a loopback address"],
    ["https://[::1]/", "a loopback address"],
    ["https://[::ffff:127.0.0.1]/", "a loopback address"],
    ["https://[64:ff9b::7f00:1]/", "a loopback address"],
    ["https://[2002:7f00:1::1]/", "a loopback address"],
    ["https://[::a9fe:a9fe]/", "a link-local address"],
    ["https://[::ffff:0:10.0.0.5]/", "a private address"],
    ["https://[fec0::1]/", "a private address"],
    ["https://198.18.0.1/", "a private address"],
    ["https://10.255.255.1/", "a private address"],
    ["https://192.168.0.1/", "a private address"],
    ["https://[fd12::1]/", "a private address"],
    ["https://100.64.0.1/", "a private address"],
    ["https://169.254.169.254/latest/meta-data", "a link-local address"],
    ["https://0.0.0.0/", "a link-local address"],
    ["http://VICTIM/", "would be asked by http"],
    ["http://169.254.169.254/latest/meta-data", "would be asked by http"],
    ["http://other.example.org/", "would be asked by http"],
    // The registry itself is asked by https whatever it says, and so leads in a circle.
    [`http://${host}/v2/other`, "redirects more than 5 times"],
    ...ownAddresses().map((own) => [`https://${own}/`, "a loopback address"]),
  ])("refuses a redirect to %s", async (location, reason) => {
    answers = (request, response) => {
      if (request.url === "/v2/") response.end("{}");
      else response.writeHead(307, { location: location.replace("VICTIM", victim) }).end();
    };
    for (const command of [`manifest HOST/a/b:latest`, `blob HOST/a/b@${digest}`, "delete HOST/a/b:latest"]) {
      await expectUnsafe(host, command, reason);
    }
  });

  test.each(["https://127.0.0.1/token", "https://169.254.169.254/token", "http://other.example.org/token"])(
    "refuses a token server at %s",
    async (realm) => {
      answers = (_request, response) =>
        response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}",service="x"` }).end();
      const error = await ask(host, "manifest HOST/a/b:latest");
      expect(error).toBeInstanceOf(RegistryError);
      expect(asked).toEqual([`${host}/v2/`]);
    },
  );

  test("refuses a token server that redirects to a private network", async () => {
    answers = (request, response) => {
      if (request.url?.startsWith("/token") === true) {
        response.writeHead(302, { location: `https://${victim}/` }).end();
      } else {
        const realm = `Bearer realm="https://${host}/token",service="x"`;
        response.writeHead(401, { "www-authenticate": realm }).end();
      }
    };
    const error = await ask(host, "manifest HOST/a/b:latest");
    expect(error).toBeInstanceOf(RegistryError);
  });

  test("follows a redirect to another host on the internet", async () => {
    answers = (request, response) => {
      if (request.headers.host === host && request.url !== "/v2/")
        response.writeHead(307, { location: "https://storage.example.org/blob" }).end();
      else response.end("{}");
    };
    // The certificate is another host's, so that nothing of it is believed.
    const error = await ask(host, `blob HOST/a/b@${digest}`);
    expect(String(error)).toMatch(/unreachable: .*storage\.example\.org/);
  });
});

describeReal("only a registry on loopback is asked in clear text", () => {
  test.each(["x.localhost:PORT", "10.255.255.1:1", "192.168.255.1:1"])(
    "the client refuses %s",
    async (address) => {
      let reached = 0;
      const server = await listening(
        createPlainServer((_request, response) => {
          reached += 1;
          response.end("{}");
        }),
      );
      const [, port = ""] = server.split(":");
      const command = `manifest HOST/a/b@${digest}`;
      expect(await ask(address.replace("PORT", port), command)).toBeInstanceOf(RegistryError);
      expect(reached).toBe(0);
    },
  );

  test.each([
    "x.localhost:5000/stagex",
    "localhost.localhost/stagex",
    "a.local/stagex",
    "10.0.0.1:5000/stagex",
  ])("refuses %s as an address", (address) => {
    expect(() => parseRegistryAddress(address)).toThrow("in clear text");
  });

  test("follows redirects from loopback to loopback, or out by https", async () => {
    const target = await listening(createPlainServer((_request, response) => response.end("{}")));
    const address = await hostileRegistry((_request, response) =>
      response.writeHead(307, { location: `http://${target}/` }).end(),
    );
    expect(await ask(address, `blob HOST/a/b@${digest}`)).toBe("{}");
    const leaving = await hostileRegistry((_request, response) =>
      response.writeHead(307, { location: "http://169.254.169.254/" }).end(),
    );
    await expectUnsafe(leaving, `blob HOST/a/b@${digest}`, "would be asked by http");
  });
});
