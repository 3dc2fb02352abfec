import { createServer, connect as dial, type NetConnectOpts, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { listen } from "../builders/build-workspace.ts";

/**
 * The state of a link. `half-open`: existing connections are silent, new ones work, as after a NAT
 * has dropped its table.
 */
export type LinkState = "open" | "silent" | "half-open" | "reset";

/** One direction of a connection: bytes from one end are written to the other. */
type Pair = { readonly ends: readonly [Socket, Socket]; isSilent: boolean };

/** The interval at which a slow link lets bytes through, in milliseconds. */
const tick = 50;

/**
 * A TCP proxy of the test's own on the loopback interface, between buildctl and a daemon. It fails
 * as networks do.
 */
export class FaultyLink implements AsyncDisposable {
  readonly address: string;
  readonly #server: Server;
  readonly #pairs: Set<Pair>;
  #state: LinkState = "open";
  /** Bytes a second, of each connection in each direction. */
  #rate = Number.POSITIVE_INFINITY;

  private constructor(server: Server, port: number, target: NetConnectOpts) {
    this.address = `tcp://127.0.0.1:${port}`;
    this.#server = server;
    this.#pairs = new Set();
    server.on("connection", (near) => this.#join(near, dial(target)));
  }

  /** @param address of the daemon: `unix://…` or `tcp://…` */
  static async to(address: string): Promise<FaultyLink> {
    const server = createServer();
    const [scheme, rest = ""] = address.split("://");
    const [host = "", port] = rest.split(":");
    const target = scheme === "unix" ? { path: rest } : { host, port: Number(port) };
    return new FaultyLink(server, await listen(server), target);
  }

  /** Sets the link's state: a fault, or `open`. */
  set(state: LinkState): void {
    this.#state = state;
    for (const pair of this.#pairs) {
      if (state === "reset") reset(pair);
      // Bytes lost in a network stay lost when it works again: those connections are dead.
      if (state === "silent" || state === "half-open") pair.isSilent = true;
    }
  }

  /** Lets so many bytes through each second, of each connection in each direction. */
  throttle(bytesPerSecond: number): void {
    this.#rate = bytesPerSecond;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { ends } of this.#pairs) for (const end of ends) end.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, far: Socket): void {
    const pair: Pair = { ends: [near, far], isSilent: this.#state === "silent" };
    this.#pairs.add(pair);
    if (this.#state === "reset") reset(pair);
    this.#forward(pair, near, far);
    this.#forward(pair, far, near);
  }

  #forward(pair: Pair, from: Socket, to: Socket): void {
    from.on("data", async (chunk) => {
      if (pair.isSilent) return;
      from.pause();
      for (let rest = chunk; rest.length > 0 && !pair.isSilent; ) {
        const size = Math.min(rest.length, Math.max(1, Math.floor((this.#rate * tick) / 1000)));
        to.write(rest.subarray(0, size));
        rest = rest.subarray(size);
        if (this.#rate !== Number.POSITIVE_INFINITY) await sleep(tick);
      }
      from.resume();
    });
    // A silent network reports the end of one side to neither end.
    from.on("close", () => {
      if (!pair.isSilent) to.destroy();
    });
    from.on("error", () => {});
  }
}

function reset({ ends }: Pair): void {
  const [near, far] = ends;
  near.resetAndDestroy();
  far.destroy();
}
