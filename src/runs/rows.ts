/** Reads a run's data files and splits them, the same for the same configuration. */
import type { SourceRow } from "../data/dataset.ts";
import { splitRows } from "../data/split.ts";
import type { RunConfig } from "./config.ts";
import type { RunEnvironment } from "./environment.ts";

export async function readRows({ data, training }: RunConfig, environment: RunEnvironment) {
  const train = await environment.readDataset(data.train);
  const validation = data.validation === undefined ? undefined : await environment.readDataset(data.validation);
  const test = data.test === undefined ? undefined : await environment.readDataset(data.test);
  const source = isOneText(train.rows) ? cutText(train.rows) : train.rows;
  const split = splitRows({
    rows: source,
    validationShare: validation ? 0 : data.validationShare,
    testShare: test ? 0 : data.testShare,
    seed: training.seed,
  });
  return {
    train: split.train,
    validation: validation?.rows ?? split.validation,
    test: test?.rows ?? split.test,
    files: [
      ...train.files.map((file) => ({ ...file, split: "train" as const })),
      ...(validation?.files ?? []).map((file) => ({ ...file, split: "validation" as const })),
      ...(test?.files ?? []).map((file) => ({ ...file, split: "test" as const })),
    ],
  };
}

const isOneText = (rows: readonly SourceRow[]): boolean => rows.length === 1 && typeof rows[0]!.row.text === "string";

/** One long text has no rows to hold out, so it is cut at line ends into about a hundred pieces first. */
function cutText([source]: readonly SourceRow[]): SourceRow[] {
  const text = source!.row.text as string;
  const size = Math.max(500, Math.ceil(text.length / 100));
  const pieces: SourceRow[] = [];
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", Math.min(text.length, start + size));
    const end = newline < 0 ? text.length : newline + 1;
    pieces.push({ row: { text: text.slice(start, end) }, at: `${source!.at} from character ${start}` });
    start = end;
  }
  return pieces;
}
