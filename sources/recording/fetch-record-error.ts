/** Raised for a fetch record that is damaged or forged. */
export class FetchRecordError extends Error {
  override readonly name = "FetchRecordError";

  constructor(path: string, problem: string) {
    super(`the fetch record ${path} can't be used: ${problem}. Delete it, or restore it from git`);
  }
}
