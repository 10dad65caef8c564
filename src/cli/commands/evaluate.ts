/** tunesmith evaluate: base against tuned model on held-out rows. */
import { Option } from "commander";
import { ConfigError } from "../../base/errors.ts";
import { compareHeldOut } from "../../evaluation/compare.ts";
import { figuresOf, type HeldOutResult, showFigure } from "../../evaluation/held-out.ts";
import { textMetrics } from "../../evaluation/task-metrics/registry.ts";
import { type LoadedModel, openModel } from "../../execution/loaded-model.ts";
import { readDatasetFiles } from "../../platform/node/dataset-files.ts";
import { openFolder } from "../../platform/node/files.ts";
import { bindAgain } from "../../runs/bind-task.ts";
import { type EvaluationConfig, evaluationSchema } from "../../runs/config.ts";
import { measureHeldOut, planWriting, type WritingPlan } from "../../runs/measure.ts";
import type { Command } from "../command.ts";
import { evaluatorOf } from "../evaluator.ts";
import { openChosenModel, settingsOfRun } from "../load-run.ts";
import { wholeNumber } from "../sampling-options.ts";
import { showInterval } from "../train-and-show.ts";

interface Flags {
  readonly adapter?: string;
  readonly base?: string;
  readonly format?: string;
  readonly maxLength?: number;
  readonly lossOn?: "assistant" | "last-assistant" | "all";
  readonly device: string;
  readonly metrics?: string[];
  readonly maxNewTokens?: number;
  readonly maxRows?: number;
  readonly batchSize?: number;
  readonly numBeams?: number;
  readonly rougeStemmer?: boolean;
  readonly json: boolean;
}

export const evaluate = {
  name: "evaluate",
  summary: "loss and the task's metrics on a data set, tuned against base with an interval",
  define(command, { print, log }) {
    command
      .argument("<model>", "checkpoint folder or run folder")
      .argument("<data...>", "data files")
      .option("--adapter <folder>", "PEFT adapter or run folder to put on the model")
      .option("--base <folder>", "model to compare with; default: the model without its adapter")
      .option("--format <name>", "row format (default: the run's, or auto)")
      .option("--max-length <n>", "longest row in tokens (default: the run's, or 512)", wholeNumber("--max-length", 1))
      .addOption(
        new Option("--loss-on <which>", "tokens that count (default: the run's, or assistant)").choices([
          "assistant",
          "last-assistant",
          "all",
        ]),
      )
      .option(
        "--metrics <names...>",
        `let the models answer, and compare the answers: all, none, or some of ${textMetrics.join(", ")} (default: the run's, or none)`,
      )
      .option("--max-new-tokens <n>", "longest answer in tokens (default: the run's, or 128)", wholeNumber("--max-new-tokens", 1))
      .option("--max-rows <n>", "rows that are answered, the first (default: the run's, or 100)", wholeNumber("--max-rows", 1))
      .option("--batch-size <n>", "rows that are answered at once (default: the run's, or 8)", wholeNumber("--batch-size", 1))
      .option("--num-beams <n>", "beams; 1 is greedy (default: the run's, or 1)", wholeNumber("--num-beams", 1))
      .option("--rouge-stemmer", "ROUGE compares English words without their endings")
      .option("--device <name>", "auto, cpu, webgpu or cuda", "auto")
      .option("--json", "print JSON", false)
      .action(async (model: string, data: string[], flags: Flags) => {
        const {
          loaded,
          task: found,
          basePath,
          adapterPath,
        } = await openChosenModel({ model, adapter: flags.adapter, device: flags.device });
        const task = found ?? bindAgain({}, loaded.checkpoint.config);
        const run = await settingsOfRun([model, flags.adapter].filter((path) => path !== undefined));
        const room = loaded.model.maxPositionEmbeddings - (loaded.method.virtualTokens?.count ?? 0);
        const maxLength = flags.maxLength ?? run?.data.maxLength ?? Math.min(512, room);
        const { rows } = await readDatasetFiles(data);
        const format = flags.format ?? run?.data.format ?? "auto";
        const lossOn = flags.lossOn ?? run?.data.lossOn ?? "assistant";
        const { model: opened, tokenizer } = loaded;
        const dataset = task.prepare(rows, { model: opened, tokenizer, format, lossOn, maxLength, overlong: "truncate" });
        log(`${dataset.report.format} format, ${dataset.report.examples} examples, ${dataset.report.supervisedTokens} supervised targets`);
        const examples = task.forEpoch?.(dataset.examples, { seed: 0, epoch: 0 }) ?? dataset.examples;
        const writing = planWriting(evaluationOf(flags, run?.evaluation), { task, rows, model: opened, tokenizer, format, maxLength });
        if (writing) log(describeWriting(writing));
        const measure = (of: LoadedModel): Promise<HeldOutResult> =>
          measureHeldOut({ loaded: of, engine: evaluatorOf(of, task) }, { task, examples, writing });
        const tuned = await measure(loaded);
        const comparedPath = flags.base ?? (adapterPath === undefined ? undefined : basePath);
        if (comparedPath === undefined) {
          print(flags.json ? JSON.stringify(figures(tuned)) : describe("model", tuned));
          return;
        }
        const base = await measure(await openModel({ folder: openFolder(comparedPath), backend: loaded.backend, task }));
        const { loss: comparison, metrics } = compareHeldOut({ base, tuned });
        const metricComparisons = Object.keys(metrics).length > 0 ? { metricComparisons: metrics } : {};
        if (flags.json) print(JSON.stringify({ base: figures(base), tuned: figures(tuned), comparison, ...metricComparisons }));
        else {
          print(describe("base ", base));
          print(describe("tuned", tuned));
          print(
            `difference in loss ${comparison.difference.toFixed(4)}, 95% interval ${comparison.low.toFixed(4)} to ${comparison.high.toFixed(4)} (${comparison.documents} documents, paired bootstrap)`,
          );
          for (const { name, logName } of figuresOf(tuned)) if (metrics[logName]) print(`${name}${showInterval(metrics[logName])}`);
        }
      });
  },
} as const satisfies Command;

/** What the run was told, as far as the flags say nothing else. @throws ConfigError for an option of answers where there are none */
function evaluationOf({ metrics: named, ...flags }: Flags, ofRun: EvaluationConfig | undefined): EvaluationConfig {
  const { maxNewTokens, maxRows, batchSize, numBeams, rougeStemmer } = flags;
  const options = { maxNewTokens, maxRows, batchSize, numBeams, rougeStemmer };
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const metrics = named === undefined ? (ofRun?.metrics ?? []) : chosen(named);
  const useless = Object.entries(given).find(() => metrics.length === 0);
  if (useless)
    throw new ConfigError(`${useless[0]} is about the answers that are compared, and none are. Add --metrics all, or names of metrics.`);
  return evaluationSchema.parse({ ...ofRun, ...given, metrics });
}

const chosen = (names: readonly string[]): "all" | readonly string[] => {
  if (names.includes("all")) return "all";
  return names.length === 1 && names[0] === "none" ? [] : names;
};

const describeWriting = ({ prompts, leftOut, settings: { metrics } }: WritingPlan): string =>
  `${prompts.length} rows are answered for ${metrics.join(", ")}${leftOut > 0 ? `; ${leftOut} are left out because their question is too long` : ""}`;

const figures = ({ documents, metrics, scores, isOfTexts, ...numbers }: HeldOutResult) => ({
  ...numbers,
  ...metrics,
  documents: documents.length,
});
const describe = (name: string, result: HeldOutResult): string =>
  `${name}  loss ${result.loss.toFixed(4)}  ${figuresOf(result)
    .map((figure) => `${figure.name} ${showFigure(figure)}`)
    .join("  ")}  (${result.tokens} targets)`;
