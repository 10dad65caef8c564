/** What classify, answer and embed share: rows from arguments, files or standard input, and what a tuned model says of each. */
import { readFile } from "node:fs/promises";
import { text as readStream } from "node:stream/consumers";
import { ConfigError, DataError } from "../base/errors.ts";
import type { SourceRow } from "../data/dataset.ts";
import { predict } from "../evaluation/held-out.ts";
import { readDatasetFiles } from "../platform/node/dataset-files.ts";
import type { BoundTask } from "../tasks/task.ts";
import { evaluatorOf } from "./evaluator.ts";
import { type OpenedModel, openChosenModel } from "./load-run.ts";

export interface AskFlags {
  readonly file?: string;
  readonly adapter?: string;
  readonly maxLength?: string;
  readonly device: string;
}

export interface AskOptions {
  readonly model: string;
  readonly flags: AskFlags;
  /** From the arguments; files and standard input are read where there are none. */
  readonly rows: readonly SourceRow[];
  /** Names of the tasks that the command is for. */
  readonly tasks: readonly string[];
  /** The task of a model that was trained for none, where the command can do with that. */
  readonly defaultTask?: Readonly<Record<string, unknown>>;
}

export interface Said {
  readonly row: Readonly<Record<string, unknown>>;
  readonly said: Readonly<Record<string, unknown>>;
}

/** One entry for each row, in order.
 * @throws ConfigError if the model was trained for something else, or its head was never trained */
export async function askModel({ model, flags, rows: given, tasks, defaultTask }: AskOptions): Promise<Said[]> {
  const rows = given.length > 0 ? given : await readRows(flags.file);
  const { adapter, device } = flags;
  const { loaded, task } = requireTask(await openChosenModel({ model, adapter, device, ...(defaultTask && { defaultTask }) }), {
    model,
    tasks,
  });
  const { tokenizer } = loaded;
  const limit = loaded.model.maxPositionEmbeddings - (loaded.method.virtualTokens?.count ?? 0);
  const maxLength = flags.maxLength === undefined ? Math.min(512, limit) : Number(flags.maxLength);
  if (!(maxLength >= 1 && maxLength <= limit))
    throw new ConfigError(`--max-length: ${flags.maxLength} is not a number of tokens from 1 to ${limit}, the model's limit.`);
  const { prepare, show } = task.inference!;
  const examples = prepare(rows, { tokenizer, model: loaded.model, maxLength });
  const said = show(await predict(evaluatorOf(loaded, task), examples, task));
  return rows.map(({ row }, i) => ({ row, said: said[i]! }));
}

function requireTask({ loaded, task, adapterPath }: OpenedModel, { model, tasks }: Pick<AskOptions, "model" | "tasks">) {
  if (!task || !tasks.includes(task.name) || !task.inference)
    throw new ConfigError(
      `${model} is a model for ${task?.name ?? "writing text"}; this command needs one for ${tasks.join(" or ")}. Train one with task: { name: ${tasks[0]} } in its configuration.`,
    );
  if (loaded.fresh.length > 0 && adapterPath === undefined)
    throw new ConfigError(
      `${model} does not hold ${loaded.fresh.join(", ")}, so it would answer at random. Name the folder of a run that trained it, or its adapter with --adapter.`,
    );
  return { loaded, task: task as BoundTask };
}

/** Lines of text, or of JSON; other files as data sets. Standard input where no file is named. */
async function readRows(file: string | undefined): Promise<SourceRow[]> {
  if (file !== undefined && !/\.txt$/.test(file)) return (await readDatasetFiles(file)).rows;
  const name = file ?? "standard input";
  const content = file === undefined ? await readStream(process.stdin) : await readFile(file, "utf8").catch(unreadable(file));
  const lines = content.split(/\r?\n/);
  const rows = lines.flatMap((line, i) => (line.trim() === "" ? [] : [{ row: rowOf(line), at: `${name}:${i + 1}` }]));
  if (rows.length === 0) throw new DataError(`${name} is empty; expected one text a line, or one JSON object a line.`);
  return rows;
}

const unreadable =
  (file: string) =>
  (error: NodeJS.ErrnoException): never => {
    throw new DataError(`${file} cannot be read: ${error.code}. Check the path and its permissions.`, { cause: error });
  };

function rowOf(line: string): SourceRow["row"] {
  if (!line.startsWith("{")) return { text: line };
  try {
    return JSON.parse(line) as SourceRow["row"];
  } catch {
    return { text: line };
  }
}
