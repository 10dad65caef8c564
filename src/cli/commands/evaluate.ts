/** tunesmith evaluate: base against tuned model on held-out rows. */
import { prepareDataset } from "../../data/dataset.ts";
import { evaluateHeldOut, type HeldOutResult } from "../../evaluation/held-out.ts";
import { pairedBootstrap } from "../../evaluation/paired-bootstrap.ts";
import { type LoadedModel, openModel } from "../../execution/loaded-model.ts";
import { SegmentedTrainingEngine } from "../../execution/training-engine.ts";
import { causalLm } from "../../objectives/causal-lm.ts";
import { readDatasetFiles } from "../../platform/node/dataset-files.ts";
import { openFolder } from "../../platform/node/files.ts";
import type { Command } from "../command.ts";
import { openChosenModel } from "../load-run.ts";

interface Flags {
  readonly adapter?: string;
  readonly base?: string;
  readonly format: string;
  readonly maxLength?: string;
  readonly lossOn: "assistant" | "last-assistant" | "all";
  readonly device: string;
  readonly json: boolean;
}

export const evaluate = {
  name: "evaluate",
  summary: "loss, perplexity and token accuracy on a data set, tuned against base with an interval",
  define(command, { print, log }) {
    command
      .argument("<model>", "checkpoint folder or run folder")
      .argument("<data...>", "data files")
      .option("--adapter <folder>", "PEFT adapter or run folder to put on the model")
      .option("--base <folder>", "model to compare with; default: the model without its adapter")
      .option("--format <name>", "row format", "auto")
      .option("--max-length <n>", "longest row in tokens")
      .option("--loss-on <which>", "assistant, last-assistant or all", "assistant")
      .option("--device <name>", "auto, cpu, webgpu or cuda", "auto")
      .option("--json", "print JSON", false)
      .action(async (model: string, data: string[], flags: Flags) => {
        const { loaded, basePath, adapterPath } = await openChosenModel({ model, adapter: flags.adapter, device: flags.device });
        const maxLength =
          flags.maxLength === undefined
            ? Math.min(512, loaded.model.maxPositionEmbeddings - (loaded.method.virtualTokens?.count ?? 0))
            : Number(flags.maxLength);
        const { rows } = await readDatasetFiles(data);
        const dataset = prepareDataset({
          rows,
          format: flags.format,
          tokenizer: loaded.tokenizer,
          vocabSize: loaded.model.vocabSize,
          lossOn: flags.lossOn,
          maxLength,
          overlong: "truncate",
        });
        log(`${dataset.report.format} format, ${dataset.report.examples} examples, ${dataset.report.supervisedTokens} supervised tokens`);
        const tuned = await evaluateHeldOut(evaluatorOf(loaded), dataset.examples);
        const comparedPath = flags.base ?? (adapterPath === undefined ? undefined : basePath);
        if (comparedPath === undefined) {
          print(flags.json ? JSON.stringify(figures(tuned)) : describe("model", tuned));
          return;
        }
        const base = await evaluateHeldOut(
          evaluatorOf(await openModel({ folder: openFolder(comparedPath), backend: loaded.backend })),
          dataset.examples,
        );
        const comparison = pairedBootstrap({ first: base.documents, second: tuned.documents });
        if (flags.json) print(JSON.stringify({ base: figures(base), tuned: figures(tuned), comparison }));
        else {
          print(describe("base ", base));
          print(describe("tuned", tuned));
          print(
            `difference in loss ${comparison.difference.toFixed(4)}, 95% interval ${comparison.low.toFixed(4)} to ${comparison.high.toFixed(4)} (${comparison.documents} documents, paired bootstrap)`,
          );
        }
      });
  },
} as const satisfies Command;

function evaluatorOf({ backend, model, method, store }: LoadedModel): SegmentedTrainingEngine {
  return new SegmentedTrainingEngine({
    ...{ backend, model, method, store, regularisers: [], activationCheckpointing: "none" },
    ...{ objective: causalLm, objectiveConfig: { name: "causal-lm", labelSmoothing: 0 } },
  });
}

const figures = ({ loss, perplexity, tokenAccuracy, tokens }: HeldOutResult) => ({ loss, perplexity, tokenAccuracy, tokens });
const describe = (name: string, { loss, perplexity, tokenAccuracy, tokens }: HeldOutResult): string =>
  `${name}  loss ${loss.toFixed(4)}  perplexity ${perplexity.toFixed(2)}  token accuracy ${(100 * tokenAccuracy).toFixed(1)}%  (${tokens} tokens)`;
