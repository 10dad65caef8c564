/** A whole training run: prepare, measure the base, train, measure again, write everything down. */
import { ConfigError } from "../base/errors.ts";
import { makeBatches } from "../data/batches.ts";
import { compareHeldOut } from "../evaluation/compare.ts";
import { evaluateHeldOut, type HeldOutResult } from "../evaluation/held-out.ts";
import { type PairedDifference, pairedBootstrap } from "../evaluation/paired-bootstrap.ts";
import type { LoadedModel } from "../execution/loaded-model.ts";
import { encodeAdapter } from "../execution/weights/adapter-files.ts";
import { mergedCheckpointFiles } from "../export/merged-checkpoint.ts";
import { limitsOf } from "../generation/checkpoint-limits.ts";
import { createDecoder } from "../generation/decoder.ts";
import { generateBatch } from "../generation/generate.ts";
import { promptOf } from "../generation/prompt.ts";
import type { BoundTask } from "../tasks/task.ts";
import { createCheckpointStore } from "../trainers/checkpoint.ts";
import { initialLossScale } from "../trainers/loss-scale.ts";
import { type EvaluationEvent, type StepEvent, type TrainingOutcome, trainSupervised } from "../trainers/supervised.ts";
import { taskFile } from "./bind-task.ts";
import type { RunConfig } from "./config.ts";
import { parseConfigText, printConfig, printRunConfig } from "./config-text.ts";
import type { RunEnvironment, RunFolder } from "./environment.ts";
import { changedInputs, type Manifest, parseManifest, serializeManifest } from "./manifest.ts";
import { measureHeldOut } from "./measure.ts";
import { type MetricsRow, openMetricsLog } from "./metrics-log.ts";
import { type PreparedRun, prepareRun } from "./prepare.ts";
import { type ReportSample, renderReport } from "./report/report.ts";
import { type EarlierData, reportFacts } from "./report-facts.ts";
import { eventFileName, openTensorboardLog } from "./tensorboard.ts";

export interface TrainRunOptions {
  readonly config: RunConfig;
  readonly environment: RunEnvironment;
  readonly resume: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly events: TrainRunEvents;
}

export interface ValidationEvent extends EvaluationEvent {
  /** True where the targets are no tokens, so that a perplexity means nothing. */
  readonly isOfLabels: boolean;
}

export interface RunStepEvent extends StepEvent {
  /** Peak of the process so far. */
  readonly memoryBytes: number;
}

export interface TrainRunEvents {
  onPrepared?(prepared: PreparedRun): void;
  onStep?(event: RunStepEvent): void;
  onEvaluation?(event: ValidationEvent): void;
  onNotice?(message: string): void;
}

export interface TrainRunResult {
  readonly outcome: TrainingOutcome;
  readonly folder: string;
  readonly base?: HeldOutResult;
  readonly tuned?: HeldOutResult;
  /** Of the loss. */
  readonly comparison?: PairedDifference;
  /** Of the task's metrics, by their columns in metrics files. */
  readonly metricComparisons?: Readonly<Record<string, PairedDifference>>;
  /** Of an update: held-out loss on the earlier run's data. */
  readonly earlier?: EarlierData;
  readonly samples: readonly ReportSample[];
}

const files = {
  config: "config.yaml",
  metrics: "metrics.jsonl",
  manifest: "manifest.json",
  results: "results.json",
  report: "report.html",
};

/** @throws ConfigError if the folder holds a run already, or a resumed run's configuration changed */
export async function runTraining({ config, environment, resume, signal, events }: TrainRunOptions): Promise<TrainRunResult> {
  const folder = environment.openRunFolder(config.output);
  await checkFolder({ folder, config, resume });
  const startedAt = new Date();
  const prepared = await prepareRun(config, environment);
  const { task, loaded, engine, heldOut } = prepared;
  await folder.write(files.config, printConfig(config));
  events.onPrepared?.(prepared);

  // Measured before anything is restored: a fresh adapter is the base model.
  const measure = (of: Pick<PreparedRun, "loaded" | "engine">) =>
    heldOut &&
    measureHeldOut(of, { task, examples: heldOut.examples, writing: prepared.writing, batchTokens: prepared.heldOutBatchTokens });
  const base = await measure(prepared.base);
  const earlierBase =
    prepared.earlierHeldOut &&
    (await evaluateHeldOut(engine, prepared.earlierHeldOut.examples, { ...task, batchTokens: prepared.heldOutBatchTokens }));
  const notices: string[] = [];
  const notice = (message: string): void => {
    notices.push(message);
    events.onNotice?.(message);
  };
  if (prepared.writing?.leftOut) notice(`${prepared.writing.leftOut} held-out rows are too long to be answered and are left out`);
  await prepared.teacherCache?.fill(notice);
  const penalties = await prepared.createPenalties();
  const before = await answerSamples(prepared.base.loaded, config.samples, prefixOf(prepared.task));

  const checkpoints = createCheckpointStore({ shelf: folder.checkpoints, keepLast: config.training.keepLast, onWarning: notice });
  const start = resume ? await checkpoints.latest() : undefined;
  const resumedFrom = start?.trainer.step;
  if (start) notice(`resumed from step ${resumedFrom}`);
  const begun = await describeRun({ config, environment, prepared, startedAt });
  const manifest = resumedFrom === undefined ? begun : await continueManifest(folder, begun, resumedFrom);
  const writeManifest = (more: Partial<Manifest>): Promise<void> =>
    folder.write(files.manifest, serializeManifest({ ...manifest, ...more }));
  await writeManifest({});
  const metrics = await openMetricsLog(folder.appendTo(files.metrics), { resumedFrom });
  const tensorboard = openTensorboardLog({ file: folder.appendTo(eventFileName(startedAt.getTime())), now: Date.now, resumedFrom });
  const earlierSeconds = metrics.rows.at(-1)?.wall_seconds ?? 0;
  const trainingStarted = performance.now();
  const log = (row: MetricsRow): void => {
    const timed = { ...row, wall_seconds: earlierSeconds + (performance.now() - trainingStarted) / 1000 };
    metrics.append(timed);
    tensorboard.append(timed);
  };
  const evalEvery = config.training.evalEvery ?? Math.max(1, Math.ceil(prepared.totalSteps / 10));
  const outcome = await trainSupervised({
    ...{ engine, totalSteps: prepared.totalSteps, checkpoints, start, signal, penalties },
    ...{ average: prepared.average, evaluationWeights: prepared.evaluationWeights },
    batchesForEpoch: prepared.batchesForEpoch,
    learningRateAt: prepared.learningRateAt,
    validation: prepared.validation ? validationBatches(prepared, config) : [],
    gradientAccumulationSteps: config.training.gradientAccumulationSteps,
    maxGradNorm: config.training.maxGradNorm,
    routerAuxLossCoef: prepared.routerAuxLossCoef,
    seed: config.training.seed,
    ...(config.training.precision === "float16" && { lossScale: initialLossScale }),
    evalEvery,
    saveEvery: config.training.saveEvery ?? evalEvery,
    earlyStopping: config.training.earlyStopping,
    plateau: config.training.plateau,
    events: {
      onStep(event) {
        log({
          ...{ step: event.step, epoch: event.epoch, loss: event.loss, learning_rate: event.learningRate },
          ...(Number.isFinite(event.gradientNorm) && { grad_norm: event.gradientNorm }),
          ...(event.lossScale !== undefined && { loss_scale: event.lossScale, skipped_steps: event.skippedSteps }),
          ...(event.penalty !== undefined && { weight_penalty: event.penalty }),
          ...(event.routerAuxLoss !== undefined && { aux_loss: event.routerAuxLoss }),
          ...{ tokens_per_second: event.tokensPerSecond, memory_mb: environment.peakMemoryBytes() / 1e6 },
        });
        events.onStep?.({ ...event, memoryBytes: environment.peakMemoryBytes() });
      },
      onEvaluation(event) {
        const ofTokens = { eval_perplexity: Math.exp(event.loss), eval_token_accuracy: event.tokenAccuracy };
        log({ step: event.step, eval_loss: event.loss, ...(!task.head && ofTokens) });
        events.onEvaluation?.({ ...event, isOfLabels: task.head !== undefined });
      },
      onNotice: notice,
    },
  });
  const seconds = metrics.rows.at(-1)?.wall_seconds ?? 0;
  await metrics.flush();
  await tensorboard.flush();
  if (outcome.status === "interrupted") {
    await writeManifest({ status: outcome.status });
    return { outcome, folder: config.output, samples: [] };
  }

  const tuned = await measure(prepared);
  const after = await answerSamples(loaded, config.samples, prefixOf(prepared.task));
  const samples = config.samples.map((prompt, i) => ({ prompt, before: before[i]!, after: after[i]! }));
  const compared = base && tuned && compareHeldOut({ base, tuned, seed: config.training.seed });
  const comparison = compared?.loss;
  const metricComparisons = compared && Object.keys(compared.metrics).length > 0 ? compared.metrics : undefined;
  const earlier = earlierBase && (await compareEarlier({ prepared, base: earlierBase, seed: config.training.seed }));
  await writeModel({ folder, prepared, config, environment });
  const summary = {
    outcome,
    base: withoutDocuments(base),
    tuned: withoutDocuments(tuned),
    comparison,
    metricComparisons,
    earlier,
    samples,
  };
  await folder.write(files.results, `${JSON.stringify(summary, null, 2)}\n`);
  const results = {
    ...(base && { base_loss: base.loss }),
    ...(tuned && { tuned_loss: tuned.loss }),
    ...(outcome.best && { best_eval_loss: outcome.best.loss }),
  };
  await writeManifest({ status: outcome.status, finishedAt: new Date().toISOString(), results });
  if (base && tuned && comparison) {
    const facts = reportFacts({ prepared, environment, outcome, seconds, earlier });
    const title = `Fine-tuning ${config.model.split("/").at(-1)} with ${config.method.name}`;
    await folder.write(
      files.report,
      renderReport({
        title,
        method: config.method.name,
        base,
        tuned,
        comparison,
        metricComparisons: metricComparisons ?? {},
        metrics: metrics.rows,
        samples,
        facts,
        notices,
        config: printRunConfig(config, task),
      }),
    );
  }
  return {
    ...{ outcome, folder: config.output, samples },
    ...(base && { base: withoutScores(base) }),
    ...(tuned && { tuned: withoutScores(tuned) }),
    ...(comparison && { comparison }),
    ...(metricComparisons && { metricComparisons }),
    ...(earlier && { earlier }),
  };
}

/** What the updated model has forgotten, or gained, on the rows that the earlier run held out. */
async function compareEarlier({
  prepared,
  base,
  seed,
}: {
  prepared: PreparedRun;
  base: HeldOutResult;
  seed: number;
}): Promise<EarlierData> {
  const { engine, task, earlierHeldOut, heldOutBatchTokens: batchTokens } = prepared;
  const tuned = await evaluateHeldOut(engine, earlierHeldOut!.examples, { ...task, batchTokens });
  const comparison = pairedBootstrap({ first: base.documents, second: tuned.documents, seed });
  return { before: base.loss, after: tuned.loss, documents: base.documents.length, comparison };
}

async function checkFolder({ folder, config, resume }: { folder: RunFolder; config: RunConfig; resume: boolean }): Promise<void> {
  if (!(await folder.has(files.config))) return;
  if (!resume) throw new ConfigError(`output: ${folder.path} already holds a run. Continue it with --resume, or choose another folder.`);
  const earlier = flatten(parseConfigText(await folder.readText(files.config), `${folder.path}/${files.config}`));
  const now = flatten(JSON.parse(JSON.stringify(config)) as Record<string, unknown>);
  // A lower rate is how a diverged run is rescued; where the folder stands does not matter.
  const free = new Set(["optimizer.learningRate", "output", "device"]);
  const changed = [...new Set([...earlier.keys(), ...now.keys()])].filter((key) => !free.has(key) && earlier.get(key) !== now.get(key));
  if (changed.length > 0) {
    throw new ConfigError(
      changed.map(
        (key) =>
          `${key}: was ${earlier.get(key) ?? "absent"} when the run began, is ${now.get(key) ?? "absent"} now. Put it back to resume, or start a new run in another folder.`,
      ),
    );
  }
}

function flatten(value: unknown, path = ""): Map<string, string> {
  if (typeof value !== "object" || value === null) return new Map([[path, JSON.stringify(value)]]);
  return new Map(Object.entries(value).flatMap(([key, inner]) => [...flatten(inner, path === "" ? key : `${path}.${key}`)]));
}

function validationBatches({ task, validation, maxLength }: PreparedRun, { data, training }: RunConfig) {
  return makeBatches({
    examples: validation!.examples,
    collator: task.collator,
    batchSize: training.batchSize,
    maxLength,
    packing: data.packing,
    lengthBucketing: true,
  });
}

const prefixOf = ({ resolvedConfig: { sourcePrefix } }: BoundTask): string => (typeof sourcePrefix === "string" ? sourcePrefix : "");

/** @param sourcePrefix as the task puts it in front of sources */
async function answerSamples(loaded: LoadedModel, prompts: readonly string[], sourcePrefix = ""): Promise<string[]> {
  if (prompts.length === 0) return [];
  const decoder = await createDecoder(loaded);
  const { tokenizer, model } = loaded;
  const { forced, ...limits } = limitsOf(loaded);
  const answers = await generateBatch({
    ...{ decoder, tokenizer, sampling: { ...forced, temperature: 0 }, maxNewTokens: 64, seed: 0, ...limits },
    prompts: prompts.map((prompt) => promptOf(model.encoder ? `${sourcePrefix}${prompt}` : [{ role: "user", content: prompt }], loaded)),
  });
  return answers.map(([answer]) => answer!.text.trim());
}

async function writeModel({
  folder,
  prepared: { loaded, task },
  config,
  environment,
}: {
  folder: RunFolder;
  prepared: PreparedRun;
  config: RunConfig;
  environment: RunEnvironment;
}): Promise<void> {
  await loaded.store.trained.onHost();
  const content = loaded.method.adapter
    ? { name: "adapter", files: encodeAdapter({ store: loaded.store, method: loaded.method, baseModel: config.model, base: loaded.base }) }
    : {
        name: "model",
        files: await mergedCheckpointFiles(loaded, await environment.openModelFolder(config.model), { labels: task.configFields }),
      };
  // Without it the model is opened as what it does by nature.
  if (task.head || config.task || loaded.fresh.length > 0)
    await folder.write(`${content.name}/${taskFile}`, `${JSON.stringify(task.resolvedConfig, null, 2)}\n`);
  for (const [file, bytes] of Object.entries(content.files)) await folder.write(`${content.name}/${file}`, bytes);
}

/** What was said of every document is in the report; the rest of the program wants the numbers. */
const withoutScores = ({ scores, ...result }: HeldOutResult): HeldOutResult => result;

const withoutDocuments = (result: HeldOutResult | undefined) =>
  result && {
    loss: result.loss,
    perplexity: result.perplexity,
    tokenAccuracy: result.tokenAccuracy,
    tokens: result.tokens,
    documents: result.documents.length,
    ...(Object.keys(result.metrics).length > 0 && { metrics: result.metrics }),
  };

interface Described {
  readonly config: RunConfig;
  readonly environment: RunEnvironment;
  readonly prepared: PreparedRun;
  readonly startedAt: Date;
}

/** The manifest of a run that begins. */
async function describeRun({ config, environment, prepared, startedAt }: Described): Promise<Manifest> {
  return {
    formatVersion: 1,
    command: [...environment.command],
    seed: config.training.seed,
    startedAt: startedAt.toISOString(),
    status: "running",
    resumedFrom: [],
    environment: environment.describe(prepared.loaded.backend.name),
    data: prepared.dataFiles.map(({ split, path, sha256, bytes, rows }) => ({ split, file: path, sha256, bytes, rows })),
    weights: await environment.hashModelFiles(await environment.openModelFolder(config.model)),
    lineage: [...prepared.lineage],
    results: {},
  };
}

/** The manifest of a run that goes on: as it began, with the resumption added.
 * @throws ConfigError if data or weights are not what the run began with */
async function continueManifest(folder: RunFolder, now: Manifest, step: number): Promise<Manifest> {
  if (!(await folder.has(files.manifest))) return { ...now, resumedFrom: [{ step, at: now.startedAt }] };
  const before = parseManifest(await folder.readText(files.manifest), `${folder.path}/${files.manifest}`);
  const changed = changedInputs(before, now);
  if (changed.length > 0)
    throw new ConfigError(
      changed.map((what) => `${what} since the run began, so it cannot be resumed. Put it back, or start a new run in another folder.`),
    );
  return { ...before, status: "running", resumedFrom: [...before.resumedFrom, { step, at: now.startedAt }] };
}
