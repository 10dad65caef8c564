/**
 * Runs training steps segment by segment: forward through the blocks keeping what their backward graphs need, the head
 * in chunks of rows so that logits stay small, then backward through the blocks. Implements the trainers' port.
 */
import type { Backend, HostTensor, Tensor } from "../backends/backend.ts";
import type { Batch } from "../data/batch.ts";
import type { ParameterPiece } from "../models/segment-builder.ts";
import { bindDims } from "../tensor/bindings.ts";
import { type Graph, printGraph } from "../tensor/graph.ts";
import { peakIntermediateBytes } from "../tensor/liveness.ts";
import type { DimBindings } from "../tensor/shape.ts";
import { int64 } from "./batch-context.ts";
import type { EngineState, EvaluationResult, StepResult, TrainingEngine } from "./engine.ts";
import { chunksOf, createContexts, type ModelContexts, ModelPass, type ModelPassOptions } from "./model-pass.ts";
import type { OptimizerOnGroups } from "./optimizer-on-groups.ts";
import { denseGradientOf, GradientAccumulators } from "./parameter-gradients.ts";
import type { ParameterStore } from "./parameter-store.ts";
import { createPassMemory, type PassMemory } from "./pass-memory.ts";
import { referenceInputs } from "./reference-model.ts";
import { gatherRows, ReferencePass, type ReferenceResult } from "./reference-pass.ts";
import { only, parameterInputs } from "./stack-pass.ts";
import { type TopPredictions, topTensors } from "./top-predictions.ts";
import {
  type Chunks,
  type CompiledSegment,
  compileEvaluation,
  compileTraining,
  type ProgramOptions,
  segmentsOf,
  type TrainingProgram,
} from "./training-program.ts";
import { withVirtualTokens } from "./virtual-tokens.ts";
import { Workspace } from "./workspace.ts";

/** Bytes of logits that the head may hold at once; more targets than fit are taken in several calls. */
const logitBytes = 24 * 1024 ** 2;
/** Where the vocabulary is trained, every call gives a gradient of the matrix's size, so that few calls are worth more memory. */
const trainedLogitBytes = 100 * 1024 ** 2;

/** A head that takes the vocabulary in pieces holds the logits of one piece at a time. */
function rowsAtOnce({ segment, forwardGraph }: CompiledSegment, vocabSize: number): number {
  const givesMatrix = [...forwardGraph.outputs].some(([name, { shape }]) => denseGradientOf(name) !== undefined && shape[0] === vocabSize);
  const pieces = [...(segment.pieces ?? new Map<string, ParameterPiece>()).values()];
  const width = pieces.length > 0 ? Math.max(...pieces.map(({ start, end }) => end - start)) : vocabSize;
  return Math.max(32, Math.floor((givesMatrix ? trainedLogitBytes : logitBytes) / (4 * width)));
}

export interface TrainingEngineOptions extends ProgramOptions {
  readonly referenceTop?: TopPredictions | undefined;
  readonly store: ParameterStore;
  readonly optimizer?: OptimizerOnGroups;
}

export class SegmentedTrainingEngine implements TrainingEngine {
  readonly #options: TrainingEngineOptions;
  readonly #backend: Backend;
  readonly #workspace = new Workspace();
  readonly #memory: PassMemory;
  readonly #contexts: ModelContexts;
  readonly #training = new Map<string, Promise<TrainingProgram>>();
  readonly #evaluation = new Map<string, Promise<TrainingProgram>>();
  readonly #reference: ReferencePass | undefined;
  readonly #gradients: GradientAccumulators;

  constructor(options: TrainingEngineOptions) {
    this.#options = options;
    this.#backend = options.backend;
    this.#gradients = new GradientAccumulators(options.store);
    this.#memory = createPassMemory(options.backend, this.#workspace);
    this.#contexts = createContexts(options.model, options.backend);
    this.#reference = options.reference && new ReferencePass(options.reference, options.backend);
  }

  /** Forward and backward of one micro-batch. Adds d(lossSum)/d(parameter) * gradientScale to the accumulators. */
  async accumulate(given: Batch, { gradientScale, seed }: { gradientScale: number; seed: number }): Promise<StepResult> {
    const { batch, layout } = withVirtualTokens(given, this.#options.model, this.#options.method);
    const chunks = chunksOf(batch);
    const program = await cached(this.#training, keyOf(chunks), () => compileTraining(this.#options, chunks));
    const pass = this.#pass({ batch, layout, chunks, program, seed });
    const hidden = await pass.forward(true);
    const reference = await this.#reference?.forward(given);
    const topNumbers = this.#options.referenceTop?.numbersOf(given);
    const hiddenGradient = this.#workspace.float32("hidden.gradient.0", hidden.dims);
    const { result } = await this.#head({ program, batch, hidden, reference, topNumbers, training: { gradientScale, hiddenGradient } });
    await pass.backward(hiddenGradient, this.#gradients);
    this.#gradients.finish();
    return result;
  }

  async evaluate(given: Batch): Promise<EvaluationResult> {
    const { batch, layout } = withVirtualTokens(given, this.#options.model, this.#options.method);
    const chunks = chunksOf(batch);
    const program = await cached(this.#evaluation, keyOf(chunks), () => compileEvaluation(this.#options, chunks));
    const hidden = await this.#pass({ batch, layout, chunks, program, seed: 0 }).forward(false);
    const { result, perTarget, predictions } = await this.#head({ program, batch, hidden });
    return { ...result, perTarget, ...(predictions && { predictions: predictions.data as Float32Array }) };
  }

  #pass(of: Pick<ModelPassOptions, "batch" | "layout" | "program" | "chunks" | "seed">): ModelPass {
    return new ModelPass({ ...of, contexts: this.#contexts, store: this.#options.store, memory: this.#memory });
  }

  /** Global L2 norm of the accumulated gradients. */
  async gradientNorm(): Promise<number> {
    return this.#gradients.norm();
  }

  /** One optimizer step on gradients times `gradientScale`; the accumulators start afresh. */
  async update({ learningRate, step, gradientScale }: { learningRate: number; step: number; gradientScale: number }): Promise<void> {
    await this.#options.optimizer!.update({ learningRate, step, gradientScale });
    this.discardGradients();
  }

  discardGradients(): void {
    this.#gradients.discard();
  }

  readState(): EngineState {
    const parameters = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    for (const [name, { spec, tensor, gradient }] of this.#options.store.parameters) {
      if (gradient) parameters.set(name, { shape: spec.shape, data: tensor.data as Float32Array });
    }
    return { parameters, optimizer: this.#options.optimizer?.readState() ?? new Map() };
  }

  writeState({ parameters, optimizer }: EngineState): void {
    for (const [name, { data }] of parameters) (this.#options.store.parameters.get(name)!.tensor.data as Float32Array).set(data);
    this.#options.optimizer?.writeState(optimizer);
  }

  /** Most memory that the compiled graphs need for values between their inputs and outputs; each keeps its own. */
  async workingBytes(given: Batch): Promise<number> {
    const { batch } = withVirtualTokens(given, this.#options.model, this.#options.method);
    const chunks = chunksOf(batch);
    const program = await cached(this.#training, keyOf(chunks), () => compileTraining(this.#options, chunks));
    const takesAll = "readsLabels" in this.#options.objective;
    const rows = takesAll
      ? batch.targetPositions.length
      : Math.min(batch.targetLabels.length, rowsAtOnce(program.head, this.#options.model.vocabSize));
    const graphs = new Map<string, number>();
    const measure = (segments: readonly CompiledSegment[], sizes: { tokens: number; chunks: number }): void => {
      const bindings = {
        ...{ batch: batch.batchSize, tokenChunk: sizes.tokens / sizes.chunks, positions: sizes.tokens, rows },
        ...{ labels: batch.targetLabels.length, ...targetSizes(batch, program.head.forwardGraph) },
        ...(batch.encoder && { encoderTokens: batch.encoder.tokens }),
      };
      for (const { forwardGraph, backward } of segments) {
        for (const graph of [forwardGraph, backward?.graph]) {
          if (!graph || graphs.has(printGraph(graph))) continue;
          graphs.set(printGraph(graph), peakIntermediateBytes({ graph, bindings, held: () => forwardGraph !== program.head.forwardGraph }));
        }
      }
    };
    const { encoder, trunk, head } = program;
    if (encoder) measure(segmentsOf(encoder), { tokens: batch.encoder!.tokens, chunks: chunks.encoder! });
    measure([...segmentsOf(trunk), head], { tokens: batch.tokens, chunks: chunks.trunk });
    return [...graphs.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Of the tensors that live between calls. */
  memoryBytes(): number {
    const { store, optimizer } = this.#options;
    return store.frozenBytes + store.trainedBytes + (optimizer?.stateBytes ?? 0) + this.#workspace.sizeBytes;
  }

  async #head({ program, batch, hidden, reference, topNumbers, training }: HeadCall) {
    const { model, store, objective } = this.#options;
    const C = model.hiddenSize;
    const N = batch.targetPositions.length;
    // Labels are few and may belong to several rows, so that a head for them takes the whole batch at once.
    const takesAll = "readsLabels" in objective;
    const most = takesAll ? N : rowsAtOnce(program.head, model.vocabSize);
    const perTarget = new Float32Array(batch.targetLabels.length);
    let predictions: HostTensor | undefined;
    const hiddenGradient = training?.hiddenGradient.data as Float32Array | undefined;
    hiddenGradient?.fill(0);
    let [lossSum, correct, tokens] = [0, 0, 0];
    for (let start = 0; start < N; start += most) {
      const n = Math.min(most, N - start);
      const positions = batch.targetPositions.subarray(start, start + n);
      const rows = this.#gatherRows("head.rows", hidden, positions);
      const labels = takesAll ? batch.targetLabels : batch.targetLabels.subarray(start, start + n);
      const weights = batch.targetWeights?.slice(start, start + labels.length) ?? new Float32Array(labels.length).fill(1);
      const inputs: Record<string, Tensor> = {
        ...(await parameterInputs(program.head, program.head.forwardGraph, { store, memory: this.#memory })),
        ...headTargets(batch),
        rows,
        labels: int64(labels, [labels.length]),
        weights: { dtype: "float32", dims: [labels.length], data: weights },
        ...(training && { gradientScale: { dtype: "float32" as const, dims: [], data: Float32Array.of(training.gradientScale) } }),
        ...(reference && {
          ...referenceInputs(this.#options.reference!, program.head.forwardGraph),
          referenceRows: this.#gatherRows("head.referenceRows", reference.hidden, reference.positions.subarray(start, start + n)),
        }),
      };
      if (topNumbers) {
        const rows = await this.#options.referenceTop!.read(topNumbers.subarray(start, start + n));
        Object.assign(inputs, topTensors(rows, { n, vocabSize: model.vocabSize }));
      }
      const gradients: Record<string, HostTensor> = {};
      for (const [local, spec] of program.head.segment.parameters) {
        const name = `gradient.${local}`;
        if (program.head.forwardGraph.outputs.has(name))
          gradients[name] = this.#gradients.target(spec.name) ?? this.#workspace.float32(`head.${name}`, spec.shape);
      }
      const outputs = await program.head.forward.run(only(inputs, program.head.forwardGraph), gradients);
      lossSum += (outputs.lossSum!.data as Float32Array)[0]!;
      const [losses, hits] = [outputs.targetLosses!.data as Float32Array, outputs.correct!.data as Float32Array];
      perTarget.set(losses, start);
      predictions = outputs.predictions;
      for (let i = 0; i < labels.length; i++) {
        if (weights[i] === 0) continue;
        tokens++;
        correct += hits[i]!;
      }
      const rowGradients = outputs["rows.gradient"]?.data as Float32Array | undefined;
      if (rowGradients && hiddenGradient) {
        for (let i = 0; i < n; i++) hiddenGradient.set(rowGradients.subarray(i * C, (i + 1) * C), batch.targetPositions[start + i]! * C);
      }
      if (training) this.#gradients.addAll(outputs, (local) => program.head.segment.parameters.get(local)!.name);
    }
    return { result: { lossSum, correct, tokens }, perTarget, predictions };
  }

  /** Rows of a hidden state [B, T, C] at flat positions, [n, C]. */
  #gatherRows(slot: string, hidden: HostTensor, positions: Int32Array): HostTensor {
    const rows = this.#workspace.float32(slot, [positions.length, hidden.dims.at(-1)!]);
    gatherRows(hidden, positions, rows.data as Float32Array);
    return rows;
  }
}

interface HeadCall {
  readonly program: TrainingProgram;
  readonly batch: Batch;
  /** [B, T, C]. */
  readonly hidden: HostTensor;
  readonly reference?: ReferenceResult | undefined;
  /** Rows of the reference's likeliest predictions, [N]. */
  readonly topNumbers?: Int32Array | undefined;
  /** Absent when evaluating. The gradient of the hidden state is written into `hiddenGradient`. */
  readonly training?: { readonly gradientScale: number; readonly hiddenGradient: HostTensor };
}

/** What a batch holds for the objective beside labels. */
const headTargets = ({ targets = {} }: Batch): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.entries(targets).map(([name, { dims, data }]) => [
      name,
      data instanceof Int32Array ? int64(data, dims) : { dtype: "float32" as const, dims, data },
    ]),
  );

/** Named sizes of what a batch holds for the objective. */
function targetSizes({ targets = {} }: Batch, { inputs }: Graph): DimBindings {
  return bindDims(
    Object.entries(targets).flatMap(([name, { dims }]) => {
      const input = inputs.get(name);
      return input ? [{ name, shape: input.shape, actual: dims }] : [];
    }),
  );
}

const keyOf = ({ encoder, trunk }: Chunks): string => `${encoder ?? ""}/${trunk}`;

async function cached<Key, Made>(made: Map<Key, Promise<Made>>, key: Key, make: () => Promise<Made>): Promise<Made> {
  let promise = made.get(key);
  if (!promise) {
    promise = make();
    made.set(key, promise);
  }
  return promise;
}
