/**
 * Compares plan with StageX's own history:
 * node test/oracle/history.ts CHECKOUT [RELEASE] (a clone of StageX with its tags, which stays
 * unchanged). Takes each release of the last year (or since one) and the one before it. Compares
 * the rebuilds that plan predicts with the digests that both published.
 *
 * Ends with 1 where plan predicted neither `will` nor `may` for an image whose published digest
 * changed. With both releases known, it also ends with 1 where the predicted images are wrong:
 * not exactly those with other inputs of their own or other digests of dependencies.
 *
 * Until 2025.03.0 digests changed for reasons that are in no package. 2025.03.0 gave every image
 * two annotations more. 2025.02.0 has images without a published digest. Those steps fail, as
 * they should.
 */
import { type Prediction, predict, readRelease, releaseNames } from "./prediction.ts";

const [checkout, since] = process.argv.slice(2);
if (checkout === undefined) {
  process.stderr.write("usage: node test/oracle/history.ts CHECKOUT [RELEASE]\n");
  process.exitCode = 2;
} else await compareHistory(checkout);

async function compareHistory(checkout: string): Promise<void> {
  print("", "", "in", "own", "will", "digest", "", "known:", "still", "", "");
  print(
    "step",
    "images",
    "both",
    "inputs",
    "or may",
    "changed",
    "missed",
    "called",
    "may",
    "wrong",
    "seconds",
  );
  const [first = "", ...names] = releaseNames(checkout, since);
  let older = await readRelease(checkout, first);
  for (const name of names) {
    const start = performance.now();
    const newer = await readRelease(checkout, name);
    const prediction = await predict(older, newer);
    printStep(`${older.name} -> ${name}`, prediction, (performance.now() - start) / 1000);
    if (prediction.missed.length + prediction.wrong.length > 0) process.exitCode = 1;
    older = newer;
  }
}

function printStep(step: string, prediction: Prediction, seconds: number): void {
  const { images, inBoth, own, called, changed, missed, exact, uncertain, wrong } = prediction;
  const counts = [images, inBoth, own, called, changed, missed.length, exact, uncertain, wrong.length];
  print(step, ...counts.map(String), seconds.toFixed(1));
  const { translated, contradictions } = prediction;
  if (translated > 0) {
    note(
      `the older release published the digest of the index: ${translated} are those of an index around the newer manifest`,
    );
  }
  if (contradictions > 0) note(`${contradictions} input keys have two published digests`);
  if (missed.length > 0) note(`missed: ${missed.join(" ")}`);
  if (wrong.length > 0) note(`wrong: ${wrong.join(" ")}`);
}

function print(step: string, ...cells: string[]): void {
  process.stdout.write(`${[step.padEnd(24), ...cells.map((cell) => cell.padStart(8))].join(" ")}\n`);
}

function note(text: string): void {
  process.stdout.write(`  ${text}\n`);
}
