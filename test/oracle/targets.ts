/**
 * Compares our reading of StageX checkouts with their own generator and fetcher, image by image:
 * node test/oracle/targets.ts CHECKOUT… (checkouts of releases, with python3 >= 3.11 on PATH)
 */
import { compareWithGenerator } from "./generator-comparison.ts";

const checkouts = process.argv.slice(2);
if (checkouts.length === 0) {
  process.stderr.write("usage: node test/oracle/targets.ts CHECKOUT…\n");
  process.exitCode = 2;
}
for (const checkout of checkouts) {
  const { images, dependencies, sources, differences, undeclared, fetchAsked } =
    await compareWithGenerator(checkout);
  const extra = undeclared === 0 ? "" : `, ${undeclared} build arguments differ that no ARG declares`;
  const unasked = fetchAsked ? "" : " (its fetch.py cannot be asked)";
  process.stdout.write(
    `${checkout}: ${images} images, ${dependencies} dependencies, ${sources} sources${unasked}: ` +
      `${differences.length} differences${extra}\n`,
  );
  for (const difference of differences) process.stdout.write(`  ${difference}\n`);
  if (differences.length > 0) process.exitCode = 1;
}
