/** From a configuration to data, model and plan; nothing is trained or written yet. */
import { ConfigError } from "../base/errors.ts";
import { lookUp } from "../base/registry.ts";
import type { Batch } from "../data/batch.ts";
import { makeBatches } from "../data/batches.ts";
import { type Dataset, prepareDataset, type SourceRow } from "../data/dataset.ts";
import { splitRows } from "../data/split.ts";
import { type LoadedModel, openModel, untouched, withoutMethod } from "../execution/loaded-model.ts";
import { createOptimizerOnGroups } from "../execution/optimizer-on-groups.ts";
import { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import type { Method } from "../methods/method.ts";
import { methods } from "../methods/registry.ts";
import { embeddingNoise, residualDropout } from "../methods/regularisers.ts";
import type { Objective } from "../objectives/objective.ts";
import { objectives } from "../objectives/registry.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { optimizers } from "../optimizers/registry.ts";
import { schedules } from "../optimizers/schedules/registry.ts";
import type { Schedule } from "../optimizers/schedules/schedule.ts";
import type { RunConfig } from "./config.ts";
import type { DataFile, RunEnvironment } from "./environment.ts";

export interface PreparedRun {
  readonly loaded: LoadedModel;
  readonly engine: SegmentedTrainingEngine;
  /** The model before training: a fresh adapter is the base model, but fresh virtual tokens are not. */
  readonly base: { readonly loaded: LoadedModel; readonly engine: SegmentedTrainingEngine };
  readonly train: Dataset;
  /** Undefined where nothing is held out. */
  readonly validation: Dataset | undefined;
  /** What base and tuned model are compared on: the test rows, or the validation rows where there are none. */
  readonly heldOut: Dataset | undefined;
  readonly dataFiles: readonly (DataFile & { readonly split: "train" | "validation" | "test" })[];
  readonly totalSteps: number;
  readonly maxLength: number;
  readonly trainableParameters: number;
  readonly allParameters: number;
  batchesForEpoch(epoch: number): Batch[];
  learningRateAt(step: number): number;
}

export async function prepareRun(config: RunConfig, environment: RunEnvironment): Promise<PreparedRun> {
  const { training } = config;
  const rows = await readRows(config, environment);
  const backend = await environment.createBackend(config.device);
  const method = lookUp("method", methods as readonly Method[], config.method.name);
  const loaded = await openModel({
    folder: await environment.openModelFolder(config.model),
    backend,
    method: { method, config: config.method },
    seed: training.seed,
  });
  const { model, tokenizer, store } = loaded;
  const virtual = loaded.method.virtualTokens?.count ?? 0;
  const room = model.maxPositionEmbeddings - virtual;
  const maxLength = config.data.maxLength ?? Math.min(512, room);
  if (maxLength > room)
    throw new ConfigError(
      `data.maxLength: ${maxLength} is above the model's limit of ${model.maxPositionEmbeddings} positions (max_position_embeddings)${virtual > 0 ? `, of which ${virtual} are virtual tokens` : ""}.`,
    );

  const prepare = (source: readonly SourceRow[], format: string): Dataset =>
    prepareDataset({
      rows: source,
      format,
      tokenizer,
      vocabSize: model.vocabSize,
      lossOn: config.data.lossOn,
      maxLength,
      overlong: config.data.overlong,
    });
  const train = prepare(rows.train, config.data.format);
  const validation = rows.validation.length > 0 ? prepare(rows.validation, config.data.format) : undefined;
  const heldOut = rows.test.length > 0 ? prepare(rows.test, config.data.format) : validation;

  const optimizer = lookUp("optimizer", optimizers as readonly Optimizer[], config.optimizer.name);
  const schedule = lookUp("schedule", schedules as readonly Schedule[], config.schedule.name);
  const regularisers = [
    ...(training.dropout > 0 ? [residualDropout(training.dropout)] : []),
    ...(training.neftuneNoiseAlpha > 0 ? [embeddingNoise({ alpha: training.neftuneNoiseAlpha, sequenceLength: maxLength })] : []),
  ];
  const engineOptions = {
    ...{ backend, model, method: loaded.method, regularisers, store, dtypeOf: loaded.dtypeOf },
    ...{ objective: lookUp("objective", objectives as readonly Objective[], config.objective.name), objectiveConfig: config.objective },
    activationCheckpointing: training.activationCheckpointing,
    optimizer: await createOptimizerOnGroups({ backend, optimizer, config: config.optimizer, groups: store.groups }),
  };
  const engine = new SegmentedTrainingEngine(engineOptions);

  const withoutVirtualTokens = () => ({
    loaded: withoutMethod(loaded),
    engine: new SegmentedTrainingEngine({ ...engineOptions, method: untouched }),
  });
  const { batchSize, gradientAccumulationSteps, seed } = training;
  const batchesForEpoch = (epoch: number): Batch[] =>
    makeBatches({
      examples: train.examples,
      batchSize,
      maxLength,
      packing: config.data.packing,
      lengthBucketing: config.data.lengthBucketing,
      shuffle: { seed, epoch },
    });
  const stepsPerEpoch = Math.ceil(batchesForEpoch(0).length / gradientAccumulationSteps);
  const totalSteps = training.maxSteps ?? Math.max(1, Math.round((training.epochs ?? 1) * stepsPerEpoch));
  const sizes = [...store.parameters.values()].map(({ tensor, gradient }) => ({
    length: tensor.data.length,
    trained: gradient !== undefined,
  }));
  return {
    ...{
      loaded,
      engine,
      base: virtual === 0 ? { loaded, engine } : withoutVirtualTokens(),
      train,
      validation,
      heldOut,
      dataFiles: rows.files,
      totalSteps,
      maxLength,
      batchesForEpoch,
    },
    trainableParameters: sizes.reduce((sum, { length, trained }) => sum + (trained ? length : 0), 0),
    allParameters: sizes.reduce((sum, { length }) => sum + length, 0),
    learningRateAt: (step) => config.optimizer.learningRate * schedule.factor(config.schedule, { step, totalSteps }),
  };
}

async function readRows({ data, training }: RunConfig, environment: RunEnvironment) {
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
