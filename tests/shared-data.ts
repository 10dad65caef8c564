/** Real weights and data that lie beside the repository on some machines. Tests that need them skip, and say so, where they are absent. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";

export const sharedData = process.env.TUNESMITH_SHARED_DATA ?? resolve(import.meta.dirname, "../../shared/data");

/** True, with a printed reason, if a part of the shared data is not there. */
export function skipWithout(part: string): boolean {
  const absent = !existsSync(`${sharedData}/${part}`);
  if (absent)
    console.log(
      `skipped: needs ${part} of the shared data, which is not beside this repository (TUNESMITH_SHARED_DATA names another place)`,
    );
  return absent;
}
