import type { Forecast } from "./forecast.ts";

/** Formats the forecast in a few lines for people. */
export function formatForecast(found: Forecast, slots: number): string {
  const { counts } = found;
  const line = `${counts.will} will build, ${counts.may} may be cut off, ${counts.ledger} from the ledger, ${counts.unchanged} unchanged.`;
  if (counts.will + counts.may === 0) return line;
  return [line, ...formatTimeLines(found, slots), ...formatCauseLines(found)].join("\n");
}

/** Formats the duration, and the critical path that more builders do not shorten, for people. */
export function formatTimeLines({ seconds, guessed, criticalPath: path }: Forecast, slots: number): string[] {
  if (seconds === null)
    return [`How long it takes is not known: of ${guessed} of them nobody has recorded it.`];
  const unsure = guessed > 0 ? ` (${guessed} of them never recorded, taken as the middle one)` : "";
  return [
    `If all are built: about ${duration(seconds)} on ${slots} build ${slots === 1 ? "slot" : "slots"}${unsure}.`,
    `Critical path, ${duration(path.seconds)}: ${shortened(path.images).join(" > ")}`,
  ];
}

/** Formats the images that cause most builds, for people. Empty where no image causes another's. */
export function formatCauseLines({ causes }: Forecast): string[] {
  const most = causes.filter(({ dependents }) => dependents > 0).slice(0, 3);
  if (most.length === 0) return [];
  return [
    `Most is caused by ${most.map(({ image, dependents }) => `${image} (${dependents} images)`).join(", ")}.`,
  ];
}

function shortened(images: readonly string[]): readonly string[] {
  return images.length <= 8 ? images : [...images.slice(0, 4), "…", ...images.slice(-3)];
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
