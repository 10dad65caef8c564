/** Train, validation and test rows by seed. Rows with the same prompt stay on one side, so that nothing in the test set was seen in training. */
import { createRandom } from "../base/random.ts";
import type { SourceRow } from "./dataset.ts";
import type { Row } from "./formats/format.ts";

export interface SplitOptions {
  readonly rows: readonly SourceRow[];
  /** Shares of the groups, each 0 to below 1. */
  readonly validationShare: number;
  readonly testShare: number;
  readonly seed: number;
}

export interface SplitRows {
  readonly train: SourceRow[];
  readonly validation: SourceRow[];
  readonly test: SourceRow[];
}

export function splitRows({ rows, validationShare, testShare, seed }: SplitOptions): SplitRows {
  const groups = new Map<string, SourceRow[]>();
  for (const source of rows) {
    const key = promptOf(source.row);
    groups.set(key, [...(groups.get(key) ?? []), source]);
  }
  const order = createRandom(seed).shuffle([...groups.values()]);
  const take = (share: number): SourceRow[] => order.splice(0, share === 0 ? 0 : Math.max(1, Math.round(share * groups.size))).flat();
  const [validation, test] = [take(validationShare), take(testShare)];
  return { train: order.flat(), validation, test };
}

/** What the model is asked, with case and spaces evened out; the whole row where there is no question. */
function promptOf(row: Row): string {
  const turns = (row.messages ?? row.conversations) as { role?: string; from?: string; content?: string; value?: string }[] | undefined;
  const opening = Array.isArray(turns) ? turns.find(({ role, from }) => (role ?? from) === "user" || from === "human") : undefined;
  const prompt = opening
    ? (opening.content ?? opening.value)
    : row.instruction !== undefined
      ? `${row.instruction}\n${row.input ?? ""}`
      : (row.prompt ?? JSON.stringify(row));
  return String(prompt).toLowerCase().replace(/\s+/g, " ").trim();
}
