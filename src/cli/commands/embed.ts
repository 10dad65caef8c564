/** tunesmith embed: texts to vectors, with a tuned model or any other. */
import { type AskFlags, askModel } from "../ask-model.ts";
import type { Command } from "../command.ts";

interface Flags extends AskFlags {
  readonly pooling: string;
  readonly normalize: boolean;
}

export const embed = {
  name: "embed",
  summary: "vectors of texts, one JSON line each",
  define(command, { print }) {
    command
      .argument("<model>", "run folder, or checkpoint folder")
      .argument("[texts...]", "texts; without them --file, or standard input with one text or JSON object a line")
      .option("--file <path>", "texts (one a line), JSONL, CSV, TSV or Parquet")
      .option("--adapter <folder>", "PEFT adapter or run folder to put on the model")
      .option("--pooling <which>", "mean, first or last token; a model that was trained for it pools as it was trained", "mean")
      .option("--normalize", "vectors of length one, so that their product is the cosine", false)
      .option("--max-length <n>", "longest text in tokens; longer ones are cut")
      .option("--device <name>", "auto, cpu, webgpu or cuda", "auto")
      .action(async (model: string, texts: string[], flags: Flags) => {
        const rows = texts.map((text, i) => ({ row: { text }, at: `text ${i + 1}` }));
        const name = "sentence-embeddings";
        const said = await askModel({ model, flags, rows, tasks: [name], defaultTask: { name, pooling: flags.pooling } });
        for (const { row, said: vector } of said) {
          const embedding = flags.normalize ? normalised(vector.embedding as number[]) : vector.embedding;
          print(JSON.stringify({ text: row.text, embedding }));
        }
      });
  },
} as const satisfies Command;

function normalised(vector: readonly number[]): number[] {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return vector.map((value) => value / (length || 1));
}
