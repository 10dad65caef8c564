/** From a configuration to data, model and plan; nothing is trained or written yet. */
import { ConfigError } from "../base/errors.ts";
import { lookUp } from "../base/registry.ts";
import type { Batch, TokenizedExample } from "../data/batch.ts";
import { largestOf, makeBatches, sizeOf } from "../data/batches.ts";
import type { Dataset, SourceRow } from "../data/dataset.ts";
import { ampleBatchTokens } from "../evaluation/held-out.ts";
import { type LoadedModel, openModel, untouched, withoutMethod } from "../execution/loaded-model.ts";
import { createOptimizer } from "../execution/optimizer/create-optimizer.ts";
import { SegmentedTrainingEngine } from "../execution/training-engine.ts";
import type { Method } from "../methods/method.ts";
import { methods } from "../methods/registry.ts";
import { embeddingNoise, residualDropout } from "../methods/regularisers.ts";
import type { Model } from "../models/model.ts";
import type { Objective } from "../objectives/objective.ts";
import { objectives } from "../objectives/registry.ts";
import { routingSums } from "../objectives/side-losses/router-balance.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { optimizers } from "../optimizers/registry.ts";
import { schedules } from "../optimizers/schedules/registry.ts";
import type { Schedule } from "../optimizers/schedules/schedule.ts";
import { createGrouping } from "../optimizers/settings/parameter-groups.ts";
import type { BoundTask } from "../tasks/task.ts";
import { createEvaluationWeights, createWeightAverage, type EvaluationWeights, type WeightAverage } from "../trainers/weight-average.ts";
import type { WeightPenalty } from "../trainers/weight-penalty.ts";
import { bindTask } from "./bind-task.ts";
import type { RunConfig } from "./config.ts";
import { openEarlierRun } from "./earlier-run.ts";
import type { DataFile, RunEnvironment } from "./environment.ts";
import type { Manifest } from "./manifest.ts";
import { planWriting, type WritingPlan } from "./measure.ts";
import { checkPrecision } from "./precision.ts";
import { openReference } from "./reference.ts";
import { readRows } from "./rows.ts";
import { createTeacherCache, type TeacherCache } from "./teacher-cache.ts";
import { createPenalties, resolveUpdate, withReplay } from "./update.ts";

export interface PreparedRun {
  readonly task: BoundTask;
  readonly loaded: LoadedModel;
  readonly engine: SegmentedTrainingEngine;
  /** The model before training: a fresh adapter is the base model, but fresh virtual tokens are not. */
  readonly base: { readonly loaded: LoadedModel; readonly engine: SegmentedTrainingEngine };
  readonly train: Dataset;
  /** Undefined where nothing is held out. */
  readonly validation: Dataset | undefined;
  /** What base and tuned model are compared on: the test rows, or the validation rows where there are none. */
  readonly heldOut: Dataset | undefined;
  /** What base and tuned model are asked, where metrics of texts are wanted. */
  readonly writing: WritingPlan | undefined;
  /** Tokens in a batch of held-out rows: no more than a step takes, so that an evaluation needs no more memory than a step. */
  readonly heldOutBatchTokens: number;
  readonly dataFiles: readonly (DataFile & { readonly split: "train" | "validation" | "test" })[];
  readonly totalSteps: number;
  readonly maxLength: number;
  readonly trainableParameters: number;
  readonly allParameters: number;
  /** What the run that is continued held out. */
  readonly earlierHeldOut: Dataset | undefined;
  /** The runs that this one continues, oldest first. */
  readonly lineage: Manifest["lineage"];
  /** Anchored at the weights of now; call it before anything is restored. */
  createPenalties(): Promise<WeightPenalty[]>;
  /** Likeliest predictions of a teacher, where the objective wants those; to be filled before the first step. */
  readonly teacherCache: TeacherCache | undefined;
  /** Weight of the loss that keeps the choices of routers even; undefined where it is off. */
  readonly routerAuxLossCoef: number | undefined;
  /** Of the weights over the steps. */
  readonly average: WeightAverage | undefined;
  readonly evaluationWeights: EvaluationWeights | undefined;
  batchesForEpoch(epoch: number): Batch[];
  learningRateAt(step: number): number;
}

export async function prepareRun(given: RunConfig, environment: RunEnvironment): Promise<PreparedRun> {
  const earlier = given.update && (await openEarlierRun(given.update.from, environment));
  const config = earlier ? resolveUpdate(given, earlier) : given;
  const { training } = config;
  const rows = await readRows(config, environment);
  const backend = await environment.createBackend(config.device);
  await checkPrecision(config, backend);
  const method = lookUp("method", methods as readonly Method[], config.method.name);
  const folder = await environment.openModelFolder(config.model);
  const task = await bindTask(config, { folder, rows: rows.train });
  const prepareWith =
    ({ model, tokenizer }: Pick<LoadedModel, "model" | "tokenizer">, maxLength: number) =>
    (source: readonly SourceRow[], format: string): Dataset =>
      task.prepare(source, { tokenizer, model, format, lossOn: config.data.lossOn, maxLength, overlong: config.data.overlong });
  const { batchSize, gradientAccumulationSteps, seed } = training;
  const batchesOf = (examples: readonly TokenizedExample[], { epoch, maxLength }: { epoch: number; maxLength: number }): Batch[] =>
    makeBatches({
      examples: task.forEpoch?.(examples, { seed, epoch }) ?? examples,
      collator: task.collator,
      batchSize,
      maxLength,
      packing: config.data.packing,
      lengthBucketing: config.data.lengthBucketing,
      shuffle: { seed, epoch },
    });
  const loaded = await openModel({
    ...{ folder, backend, task },
    method: { method, config: config.method },
    ...(earlier?.adapter && { adapter: earlier.adapter }),
    ...{ seed: training.seed, precision: training.precision },
    ...{ quantization: config.quantization, quantisedCache: environment.quantisedCache },
    grouping: createGrouping(config.optimizer),
    trainingBatches(base) {
      const maxLength = longestSequence(config, base.model);
      return batchesOf(prepareWith(base, maxLength)(rows.train, config.data.format).examples, { epoch: 0, maxLength });
    },
  });
  const { model, store } = loaded;
  const virtual = loaded.method.virtualTokens?.count ?? 0;
  const maxLength = longestSequence(config, model, virtual);
  const prepare = prepareWith(loaded, maxLength);
  const train = prepare(rows.train, config.data.format);
  /** The same every time it is measured, where a task draws something anew for every epoch. */
  const prepareHeldOut = (source: readonly SourceRow[], format: string): Dataset | undefined => {
    if (source.length === 0) return undefined;
    const dataset = prepare(source, format);
    return { ...dataset, examples: task.forEpoch?.(dataset.examples, { seed: 0, epoch: 0 }) ?? dataset.examples };
  };
  const validation = prepareHeldOut(rows.validation, config.data.format);
  const heldOut = prepareHeldOut(rows.test, config.data.format) ?? validation;
  const asked = rows.test.length > 0 ? rows.test : rows.validation;
  const { tokenizer } = loaded;
  const writing =
    config.evaluation && planWriting(config.evaluation, { task, rows: asked, tokenizer, model, format: config.data.format, maxLength });

  const replay = (earlier?.replay ?? []).filter(() => config.update!.replayShare > 0 || config.update!.ewc);
  const earlierExamples = replay.flatMap((part) => prepare(part.rows, part.format).examples);
  const earlierHeldOut = earlier && prepareHeldOut(earlier.heldOut.rows, earlier.heldOut.format);

  const chosen = lookUp("objective", objectives as readonly Objective[], config.objective.name);
  const objective = task.objective ?? chosen;
  const top = chosen.referenceTop?.(config.objective);
  const teacherCache =
    top &&
    createTeacherCache({
      ...{ settings: top, config, loaded, environment, maxLength },
      examples: [...train.examples, ...(config.update ? earlierExamples : [])],
    });
  const reference = chosen.readsReference && !top ? await openReference(config.objective, { loaded, environment }) : undefined;
  const optimizer = lookUp("optimizer", optimizers as readonly Optimizer[], config.optimizer.name);
  const schedule = lookUp("schedule", schedules as readonly Schedule[], config.schedule.name);
  const routerAuxLossCoef = chooseAuxLossCoef(config, model);
  const regularisers = [
    ...(routerAuxLossCoef === undefined ? [] : [routingSums]),
    ...(training.dropout > 0 ? [residualDropout(training.dropout)] : []),
    ...(training.neftuneNoiseAlpha > 0 ? [embeddingNoise({ alpha: training.neftuneNoiseAlpha, sequenceLength: maxLength })] : []),
  ];
  const { trained } = store;
  const trainedOptimizer = await createOptimizer({ backend, optimizer, config: config.optimizer, store });
  const engineOptions = {
    ...{ backend, model, method: loaded.method, regularisers, store },
    ...{ objective, objectiveConfig: config.objective, reference, referenceTop: teacherCache?.predictions },
    ...{ activationCheckpointing: training.activationCheckpointing, precision: training.precision },
    optimizer: trainedOptimizer,
  };
  const engine = new SegmentedTrainingEngine(engineOptions);

  const withoutVirtualTokens = () => ({
    loaded: withoutMethod(loaded),
    engine: new SegmentedTrainingEngine({ ...engineOptions, method: untouched }),
  });
  const batchesForEpoch = (epoch: number): Batch[] =>
    batchesOf(
      config.update
        ? withReplay(train.examples, { earlier: earlierExamples, share: config.update.replayShare, seed, epoch })
        : train.examples,
      { epoch, maxLength },
    );
  const firstEpoch = batchesForEpoch(0);
  const stepsPerEpoch = Math.ceil(firstEpoch.length / gradientAccumulationSteps);
  const totalSteps = training.maxSteps ?? Math.max(1, Math.round((training.epochs ?? 1) * stepsPerEpoch));
  const average = training.average && createWeightAverage({ trained, config: training.average, totalSteps });
  const writeTo = average ? average.writeTo : trainedOptimizer.writeEvaluationWeights;
  if (average && trainedOptimizer.writeEvaluationWeights)
    throw new ConfigError(`training.average: ${optimizer.name} averages the weights by itself. Leave training.average out.`);
  const sizes = [...store.parameters.values()].map(({ spec, gradient }) => ({
    length: spec.shape.reduce((product, n) => product * n, 1),
    trained: gradient !== undefined,
  }));
  return {
    base: virtual === 0 || earlier?.adapter ? { loaded, engine } : withoutVirtualTokens(),
    ...{ task, loaded, engine, train, validation, heldOut, dataFiles: rows.files, totalSteps, maxLength, batchesForEpoch, earlierHeldOut },
    ...{ teacherCache, writing, routerAuxLossCoef },
    heldOutBatchTokens: Math.min(ampleBatchTokens, sizeOf(largestOf(firstEpoch))),
    ...{ average, evaluationWeights: writeTo && createEvaluationWeights({ trained, writeTo }) },
    lineage: earlier?.lineage ?? [],
    createPenalties: async () =>
      config.update
        ? createPenalties(config.update, { engine, store, earlier: earlierExamples, collator: task.collator, seed: training.seed })
        : [],
    trainableParameters: sizes.reduce((sum, { length, trained }) => sum + (trained ? length : 0), 0),
    allParameters: sizes.reduce((sum, { length }) => sum + length, 0),
    learningRateAt: (step) =>
      (optimizer.ownLearningRate?.(config.optimizer, step + 1) ?? config.optimizer.learningRate) *
      schedule.factor(config.schedule, { step, totalSteps }),
  };
}

/**
 * Without a word in the configuration, where the checkpoint asks for it and the model writes: transformers has it in no other class.
 * @throws ConfigError if it is asked of a model without experts
 */
function chooseAuxLossCoef({ training }: RunConfig, { modelType, routing, labelHead }: Model): number | undefined {
  const given = training.routerAuxLossCoef;
  if (!routing && given)
    throw new ConfigError(
      `training.routerAuxLossCoef: ${given}, but a model of type ${modelType} has no experts and so no routers. Leave it out.`,
    );
  const coef = given ?? (routing?.hasAuxLoss && !labelHead ? routing.auxLossCoef : 0);
  return coef > 0 ? coef : undefined;
}

/** @throws ConfigError if data.maxLength is above what the model takes beside its virtual tokens */
function longestSequence({ data }: RunConfig, { maxPositionEmbeddings }: Model, virtual = 0): number {
  const room = maxPositionEmbeddings - virtual;
  const maxLength = data.maxLength ?? Math.min(512, room);
  if (maxLength > room)
    throw new ConfigError(
      `data.maxLength: ${maxLength} is above the model's limit of ${maxPositionEmbeddings} positions (max_position_embeddings)${virtual > 0 ? `, of which ${virtual} are virtual tokens` : ""}.`,
    );
  return maxLength;
}
