import { stripVTControlCharacters } from "node:util";
import { z } from "zod";
import { combinedPeak, parseMemoryReport, type StepMemory } from "./step-memory.ts";
import { TransferStats } from "./transfer-stats.ts";

/** A change of a step of a build, as BuildKit reports it. */
export type ProgressEvent = {
  /**
   * `build 5/12`; `internal`, `context fetch` or `exporting` for steps outside of the
   * Containerfile.
   */
  readonly step: string;
  /** The instruction: `RUN make`, on one line. */
  readonly name: string;
  readonly status: "started" | "done" | "cached" | "error";
  /** Seconds from the step's start to this event; 0 for `started` and `cached`. */
  readonly seconds: number;
};

/** A failed step, for the error that names it. */
export type FailedStep = {
  readonly step: string;
  readonly name: string;
  readonly error: string;
  /** Whether the kernel reported to have killed a process of it for lack of memory. */
  readonly wasKilled: boolean;
  /** The last lines of the step's own output, oldest first. */
  readonly tail: readonly string[];
};

/** Formats an event for one line: `[build 5/12] RUN make (12 s)`, at most `width` characters. */
export function formatProgress(event: ProgressEvent, width = 100): string {
  const time =
    event.status === "started"
      ? ""
      : event.status === "done"
        ? `${Math.round(event.seconds)} s`
        : event.status;
  const end = time && ` (${time})`;
  const line = `[${event.step}] ${event.name}`;
  const room = width - end.length;
  return (line.length > room ? `${line.slice(0, room - 1)}…` : line) + end;
}

const vertexSchema = z.object({
  digest: z.string(),
  name: z.string().default(""),
  started: z.string().optional(),
  completed: z.string().optional(),
  cached: z.boolean().default(false),
  error: z.string().default(""),
});

const logSchema = z.object({
  vertex: z.string(),
  stream: z.number().default(1),
  data: z.string(),
  timestamp: z.string(),
});

const transferSchema = z.object({
  id: z.string(),
  current: z.number().default(0),
  started: z.string().optional(),
  completed: z.string().optional(),
});

const statusSchema = z.object({
  vertexes: z.array(vertexSchema).optional(),
  statuses: z.array(transferSchema).optional(),
  logs: z.array(logSchema).optional(),
  warnings: z.array(z.object({ vertex: z.string().optional(), short: z.string().optional() })).optional(),
});

type VertexUpdate = z.infer<typeof vertexSchema>;
type LogUpdate = z.infer<typeof logSchema>;

type Vertex = {
  readonly number: number;
  readonly step: string;
  readonly name: string;
  /** When it last started, an ISO date as BuildKit wrote it. */
  startedAt: string | undefined;
  completedAt: string | undefined;
  state: "waiting" | ProgressEvent["status"];
  error: string;
  /** Output of stdout (1) and stderr (2) after their last line end. */
  partial: Map<number, Buffer>;
  tail: string[];
  memory: StepMemory | undefined;
};

/** A line of buildctl's own log, such as that a file system lacks fs-verity. */
const ownLogLine = /^time="[^"]*" level=(debug|info|warning) /;

const tailLines = 20;
/** In bytes: a longer line, such as a progress bar without a line end, is ended here. */
const longestLine = 64 * 1024;

/**
 * The number of first and of last messages to keep, and the characters of each. A frontend may
 * print for ever.
 */
const kept = { messages: 100, characters: 64 * 1024 };

/**
 * Turns stderr of `buildctl --progress=rawjson` (JSON, mixed with its log lines) into events and
 * into the plain log of BuildKit's own display. Keeps only the last lines of each step's output.
 */
export class ProgressReader {
  /**
   * BuildKit's warnings and buildctl's messages; the last ones have the reason of a failed solve.
   */
  readonly messages: string[] = [];
  /** The transfers of images to the daemon. */
  readonly transfers = new TransferStats();
  readonly #vertices = new Map<string, Vertex>();
  readonly #onEvent: (event: ProgressEvent) => void;
  readonly #log: (line: string) => void;
  readonly #restoreCommands: (text: string) => string;

  /**
   * @param restoreCommands replaces the builder's text by the recipe's, where BuildKit gets another
   * command than the recipe's
   */
  constructor(
    onEvent: (event: ProgressEvent) => void,
    log: (line: string) => void,
    restoreCommands: (text: string) => string = (text) => text,
  ) {
    this.#onEvent = onEvent;
    this.#log = log;
    this.#restoreCommands = restoreCommands;
  }

  /** Reads a line of stderr. Any line that is not a status is kept as a message. */
  readLine(text: string): void {
    const status = parseStatus(text);
    if (status === undefined) {
      const message = this.#restoreCommands(text);
      if (text !== "" && !ownLogLine.test(text)) this.#keep(message);
      this.#log(message);
      return;
    }
    // The last output of a step often comes together with its end, and belongs before it.
    let logs = status.logs ?? [];
    for (const raw of status.vertexes ?? []) {
      const update = {
        ...raw,
        name: this.#restoreCommands(raw.name),
        error: this.#restoreCommands(raw.error),
      };
      const vertex = this.#startIfNew(update);
      if (update.completed === undefined) continue;
      this.transfers.addStep(update.name, update.started, update.completed);
      for (const log of logs) if (log.vertex === update.digest) this.#output(log);
      logs = logs.filter((log) => log.vertex !== update.digest);
      this.#complete(vertex, { ...update, completed: update.completed });
    }
    for (const log of logs) this.#output(log);
    for (const transfer of status.statuses ?? []) this.transfers.addStatus(transfer);
    for (const { short } of status.warnings ?? [])
      this.#warning(this.#restoreCommands(fromBase64(short).toString()));
  }

  /**
   * Ends unfinished lines. To be called after the last line: output can come after its step's end.
   */
  end(): void {
    for (const vertex of this.#vertices.values()) {
      for (const rest of vertex.partial.values()) {
        if (rest.length > 0) this.#outputLine(vertex, rest.toString(), vertex.completedAt);
      }
      vertex.partial.clear();
    }
  }

  /**
   * Returns the step that failed by itself; undefined where none did. Steps end with "context
   * canceled" when another failed, or when the solve failed outside of the steps, as by a denied
   * source: BuildKit's last message has that cause.
   */
  failedStep(): FailedStep | undefined {
    const failed = [...this.#vertices.values()].filter((vertex) => vertex.error !== "");
    const vertex = failed.find(({ error }) => !/context canceled$/.test(error));
    if (vertex === undefined) return undefined;
    const { step, name, error, tail, memory } = vertex;
    // BuildKit's message, where the kernel has control groups of version 2 (executor/runcexecutor,
    // detectOOM).
    const wasKilled = (memory?.killed ?? 0) > 0 || /: cannot allocate memory$/.test(error);
    return { step, name, error, wasKilled, tail };
  }

  /**
   * Returns the peak of memory of the steps in bytes, simultaneous ones added; undefined where the
   * builder measures none.
   */
  peakMemory(): number | undefined {
    const measured = [...this.#vertices.values()].flatMap(({ memory, startedAt, completedAt }) => {
      const [start, end] = [Date.parse(startedAt ?? ""), Date.parse(completedAt ?? "")].map(
        (time) => time / 1000,
      );
      return memory && start !== undefined && end !== undefined ? [{ start, end, peak: memory.peak }] : [];
    });
    return combinedPeak(measured) || undefined;
  }

  /**
   * Notes the start of a step. A source starts twice: once to be resolved, and again to be fetched.
   */
  #startIfNew(update: VertexUpdate): Vertex {
    const vertex = this.#vertices.get(update.digest) ?? this.#newVertex(update.digest, update.name);
    if (update.started === undefined || update.started === vertex.startedAt) return vertex;
    if (vertex.startedAt === undefined) this.#log(`#${vertex.number} ${update.name}`);
    vertex.startedAt = update.started;
    this.#report(vertex, "started", 0);
    return vertex;
  }

  #complete(vertex: Vertex, update: VertexUpdate & { completed: string }): void {
    if (vertex.state !== "started") return;
    vertex.completedAt = update.completed;
    const seconds = secondsBetween(vertex.startedAt, update.completed);
    if (update.error !== "") {
      vertex.error = update.error;
      this.#log(`#${vertex.number} ERROR: ${update.error}`);
      this.#report(vertex, "error", seconds);
    } else if (update.cached) {
      this.#log(`#${vertex.number} CACHED`);
      this.#report(vertex, "cached", 0);
    } else {
      this.#log(`#${vertex.number} DONE ${seconds.toFixed(1)}s`);
      this.#report(vertex, "done", seconds);
    }
  }

  #keep(text: string): void {
    this.messages.push(text.slice(0, kept.characters));
    if (this.messages.length > 2 * kept.messages) this.messages.splice(kept.messages, 1);
  }

  #warning(text: string): void {
    this.#keep(text);
    this.#log(`WARN: ${text}`);
  }

  #newVertex(digest: string, name: string): Vertex {
    const number = this.#vertices.size + 1;
    const vertex: Vertex = {
      ...{ number, ...splitName(name) },
      ...{
        startedAt: undefined,
        completedAt: undefined,
        state: "waiting",
        error: "",
        partial: new Map(),
        tail: [],
        memory: undefined,
      },
    };
    this.#vertices.set(digest, vertex);
    return vertex;
  }

  #report(vertex: Vertex, status: ProgressEvent["status"], seconds: number): void {
    vertex.state = status;
    this.#onEvent({ step: vertex.step, name: vertex.name, status, seconds });
  }

  #output(log: LogUpdate): void {
    const vertex = this.#vertices.get(log.vertex);
    if (vertex === undefined) return;
    let rest = Buffer.concat([vertex.partial.get(log.stream) ?? Buffer.alloc(0), fromBase64(log.data)]);
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      this.#outputLine(vertex, rest.subarray(0, end).toString(), log.timestamp);
      rest = rest.subarray(end + 1);
    }
    if (rest.length > longestLine) {
      this.#outputLine(vertex, rest.toString(), log.timestamp);
      rest = Buffer.alloc(0);
    }
    vertex.partial.set(log.stream, rest);
  }

  #outputLine(vertex: Vertex, line: string, time: string | undefined): void {
    const whole = line.replace(/\r$/, "");
    const report = parseMemoryReport(whole);
    const text = report?.rest ?? whole;
    if (report) vertex.memory = report;
    if (report && text === "") return;
    vertex.tail.push(withoutControls(text));
    if (vertex.tail.length > tailLines) vertex.tail.shift();
    this.#log(`#${vertex.number} ${secondsBetween(vertex.startedAt, time).toFixed(3)} ${text}`);
  }
}

function fromBase64(text: string | undefined): Buffer {
  return Buffer.from(text ?? "", "base64");
}

function secondsBetween(start: string | undefined, end: string | undefined): number {
  return start === undefined || end === undefined ? 0 : (Date.parse(end) - Date.parse(start)) / 1000;
}

function parseStatus(line: string): z.infer<typeof statusSchema> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return statusSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/**
 * Splits `[linux/amd64 build 1/5] ADD a b` into step `build 1/5` and name; only steps that differ
 * by platform name it.
 */
function splitName(full: string): { step: string; name: string } {
  const match = /^\[(?:[a-z]+\/[a-z0-9/]+ )?([^\]]+)\] ([\s\S]*)$/.exec(full);
  const step = match?.[1] ?? full.split(" ", 1)[0] ?? "";
  return {
    step: withoutControls(step),
    name: withoutControls((match?.[2] ?? full).replace(/\s+/g, " ").trim()),
  };
}

/**
 * Removes the parts of a line that would control a terminal: overwritten progress bars, colours,
 * titles. The log has them, escaped.
 */
function withoutControls(line: string): string {
  const last = line.slice(line.lastIndexOf("\r") + 1);
  return stripVTControlCharacters(last).replace(/[^\P{Cc}\t]/gu, "");
}
