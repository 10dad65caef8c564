/** tunesmith classify: labels with probabilities, a tag for every word, or the right one of several choices. */
import { type AskFlags, askModel } from "../ask-model.ts";
import type { Command } from "../command.ts";

export const classify = {
  name: "classify",
  summary: "labels of texts, tags of words or the right choice, one JSON line each",
  define(command, { print }) {
    command
      .argument("<model>", "run folder, or checkpoint folder of a classifier")
      .argument("[texts...]", "texts; without them --file, or standard input with one text or JSON object a line")
      .option("--file <path>", "texts (one a line), JSONL, CSV, TSV or Parquet")
      .option("--adapter <folder>", "PEFT adapter or run folder to put on the model")
      .option("--max-length <n>", "longest text in tokens; longer ones are cut")
      .option("--device <name>", "auto, cpu, webgpu or cuda", "auto")
      .action(async (model: string, texts: string[], flags: AskFlags) => {
        const rows = texts.map((text, i) => ({ row: { text }, at: `text ${i + 1}` }));
        const tasks = ["sequence-classification", "token-classification", "multiple-choice"];
        for (const { row, said } of await askModel({ model, flags, rows, tasks })) {
          // What a file says itself is not mistaken for what the model says.
          const given = Object.entries(row).map(([name, value]) => [name in said ? `given_${name}` : name, value]);
          print(JSON.stringify({ ...Object.fromEntries(given), ...said }));
        }
      });
  },
} as const satisfies Command;
