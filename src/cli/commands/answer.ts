/** tunesmith answer: the words of a text that answer a question. */
import { ConfigError } from "../../base/errors.ts";
import { type AskFlags, askModel } from "../ask-model.ts";
import type { Command } from "../command.ts";

export const answer = {
  name: "answer",
  summary: "the words of a text that answer a question about it, one JSON line each",
  define(command, { print }) {
    command
      .argument("<model>", "run folder, or checkpoint folder of a model for question answering")
      .argument("[question]", "what is asked; without it --file, or standard input with one JSON object a line")
      .argument("[context]", "the text that holds the answer")
      .option("--file <path>", "JSONL, CSV or Parquet with question and context")
      .option("--adapter <folder>", "PEFT adapter or run folder to put on the model")
      .option("--max-length <n>", "longest piece of a text in tokens; longer ones are read in several, which overlap")
      .option("--device <name>", "auto, cpu, webgpu or cuda", "auto")
      .action(async (model: string, question: string | undefined, context: string | undefined, flags: AskFlags) => {
        if (question !== undefined && context === undefined)
          throw new ConfigError("the text that holds the answer is missing: tunesmith answer <model> <question> <context>.");
        const rows = question === undefined ? [] : [{ row: { question, context }, at: "the question" }];
        for (const { row, said } of await askModel({ model, flags, rows, tasks: ["question-answering"] }))
          print(JSON.stringify({ question: row.question, ...said }));
      });
  },
} as const satisfies Command;
