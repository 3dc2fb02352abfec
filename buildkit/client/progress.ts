import { stripVTControlCharacters } from "node:util";
import { z } from "zod";
import { combinedPeak, parseMemoryReport, type StepMemory } from "./step-memory.ts";
import { TransferStats } from "./transfer-stats.ts";

/** A change of one step of a build, as BuildKit reports it. */
export type ProgressEvent = {
  /** `build 5/12`; `internal`, `context fetch` or `exporting` for steps that are no instruction of the Containerfile. */
  readonly step: string;
  /** The instruction: `RUN make`, on one line. */
  readonly name: string;
  readonly status: "started" | "done" | "cached" | "error";
  /** Seconds from the step's start to this event; 0 for `started` and `cached`. */
  readonly seconds: number;
};

/** What went wrong in a failed step, for the error that names it. */
export type FailedStep = {
  readonly step: string;
  readonly name: string;
  readonly error: string;
  /** Whether the kernel killed a process of it for want of memory; false where nothing tells. */
  readonly wasKilled: boolean;
  /** The last lines of the step's own output, oldest first. */
  readonly tail: readonly string[];
};

/** One line for display: `[build 5/12] RUN make (12 s)`, at most `width` characters. */
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
  /** What stdout (1) and stderr (2) gave after their last line end: not yet a line. */
  partial: Map<number, Buffer>;
  tail: string[];
  memory: StepMemory | undefined;
};

/** What buildctl logs of itself, such as that a file system lacks fs-verity. */
const ownLogLine = /^time="[^"]*" level=(debug|info|warning) /;

const tailLines = 20;
/** A step that never ends a line (a progress bar, say) has it ended here, in bytes. */
const longestLine = 64 * 1024;

/** How many messages are kept, of the first and of the last, and how much of each, in characters. A frontend may print for ever. */
const kept = { messages: 100, characters: 64 * 1024 };

/**
 * Turns the lines that `buildctl --progress=rawjson` writes to stderr (JSON, mixed with its own log lines) into events and into the
 * plain log that BuildKit's own display would print. It keeps of the output only each step's last lines.
 */
export class ProgressReader {
  /** BuildKit's warnings and buildctl's own words, the last of which say why the solve failed. */
  readonly messages: string[] = [];
  /** What came to the daemon of images. */
  readonly transfers = new TransferStats();
  readonly #vertices = new Map<string, Vertex>();
  readonly #onEvent: (event: ProgressEvent) => void;
  readonly #log: (line: string) => void;
  readonly #ownWords: (text: string) => string;

  /** @param ownWords turns the builder's words into the recipe's, where BuildKit was given another command than the recipe has */
  constructor(
    onEvent: (event: ProgressEvent) => void,
    log: (line: string) => void,
    ownWords: (text: string) => string = (text) => text,
  ) {
    this.#onEvent = onEvent;
    this.#log = log;
    this.#ownWords = ownWords;
  }

  /** Takes one line of stderr. A line that is no status, whatever it is, is kept as a message. */
  readLine(text: string): void {
    const status = parseStatus(text);
    if (status === undefined) {
      const message = this.#ownWords(text);
      if (text !== "" && !ownLogLine.test(text)) this.#keep(message);
      this.#log(message);
      return;
    }
    // The last of a step's output often comes together with its end, which then belongs after it.
    let logs = status.logs ?? [];
    for (const told of status.vertexes ?? []) {
      const update = { ...told, name: this.#ownWords(told.name), error: this.#ownWords(told.error) };
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
      this.#warning(this.#ownWords(fromBase64(short).toString()));
  }

  /** Call it after the last line. Only then is it sure that what does not end with a line end has ended: output can come after its step's end. */
  end(): void {
    for (const vertex of this.#vertices.values()) {
      for (const rest of vertex.partial.values()) {
        if (rest.length > 0) this.#outputLine(vertex, rest.toString(), vertex.completedAt);
      }
      vertex.partial.clear();
    }
  }

  /**
   * Returns the step that failed by itself; undefined where none did. Steps end with "context canceled" when another failed, or
   * when what failed is no step, such as a source that is denied: BuildKit's last message has the cause then.
   */
  failedStep(): FailedStep | undefined {
    const failed = [...this.#vertices.values()].filter((vertex) => vertex.error !== "");
    const vertex = failed.find(({ error }) => !/context canceled$/.test(error));
    if (vertex === undefined) return undefined;
    const { step, name, error, tail, memory } = vertex;
    // BuildKit's own word, where the kernel has control groups of version 2 (executor/runcexecutor, detectOOM).
    const wasKilled = (memory?.killed ?? 0) > 0 || /: cannot allocate memory$/.test(error);
    return { step, name, error, wasKilled, tail };
  }

  /** Returns the bytes that the steps took at their peak, all that ran at a time together; undefined where the builder measures none. */
  peakMemory(): number | undefined {
    const measured = [...this.#vertices.values()].flatMap(({ memory, startedAt, completedAt }) => {
      const [start, end] = [Date.parse(startedAt ?? ""), Date.parse(completedAt ?? "")].map(
        (time) => time / 1000,
      );
      return memory && start !== undefined && end !== undefined ? [{ start, end, peak: memory.peak }] : [];
    });
    return combinedPeak(measured) || undefined;
  }

  /** A source starts twice: once to find out what it is, and again to fetch it. */
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
    vertex.tail.push(asShown(text));
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

/** `[linux/amd64 build 1/5] ADD a b` is step `build 1/5`; the platform is said only for steps that differ by platform. */
function splitName(full: string): { step: string; name: string } {
  const match = /^\[(?:[a-z]+\/[a-z0-9/]+ )?([^\]]+)\] ([\s\S]*)$/.exec(full);
  const step = match?.[1] ?? full.split(" ", 1)[0] ?? "";
  return { step: asShown(step), name: asShown((match?.[2] ?? full).replace(/\s+/g, " ").trim()) };
}

/**
 * A line without what would steer the terminal that it is shown on: what a progress bar has overwritten, colours, titles. The log has
 * these too, escaped.
 */
function asShown(line: string): string {
  const last = line.slice(line.lastIndexOf("\r") + 1);
  return stripVTControlCharacters(last).replace(/[^\P{Cc}\t]/gu, "");
}
