/** That fetch records can't be used as they stand. */
export class FetchRecordError extends Error {
  override readonly name = "FetchRecordError";

  constructor(path: string, problem: string) {
    super(`the fetch record ${path} can't be used: ${problem}. Delete it, or restore it from git`);
  }
}
