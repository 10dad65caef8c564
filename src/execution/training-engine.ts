/**
 * Runs training steps segment by segment: forward through the blocks keeping what their backward graphs need, the head
 * in chunks of rows so that logits stay small, then backward through the blocks. Implements the trainers' port.
 */
import type { Batch } from "../data/batch.ts";
import { type RouterBalance, routerBalance, routingOutputs } from "../objectives/side-losses/router-balance.ts";
import { bindDims } from "../tensor/bindings.ts";
import { type Graph, printGraph } from "../tensor/graph.ts";
import { peakIntermediateBytes } from "../tensor/liveness.ts";
import type { DimBindings } from "../tensor/shape.ts";
import { createPassMemory } from "./create-pass-memory.ts";
import type { AccumulateOptions, EngineState, EvaluationResult, StepResult, TrainedWeights, TrainingEngine } from "./engine.ts";
import { GradientsOnDevice } from "./gradients-on-device.ts";
import { HeadPass, rowsAtOnce } from "./head-pass.ts";
import { chunksOf, createContexts, type ModelContexts, ModelPass, type ModelPassOptions } from "./model-pass.ts";
import type { TrainedOptimizer } from "./optimizer/optimizer-state.ts";
import { denseGradientOf, GradientAccumulators, type GradientSink } from "./parameter-gradients.ts";
import { compileToStay, type PassMemory } from "./pass-memory.ts";
import { ReferencePass } from "./reference-pass.ts";
import type { TopPredictions } from "./top-predictions.ts";
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
import type { ParameterStore } from "./weights/parameter-store.ts";
import { Workspace } from "./workspace.ts";

/** Memory of graphs while they run. */
export interface WorkingBytes {
  /** Of backward graphs, each of which keeps its own from run to run. */
  readonly kept: number;
  /** Of the other graph that needs most; they take turns. */
  readonly passing: number;
}

export interface TrainingEngineOptions extends ProgramOptions {
  readonly referenceTop?: TopPredictions | undefined;
  readonly store: ParameterStore;
  readonly optimizer?: TrainedOptimizer;
}

export class SegmentedTrainingEngine implements TrainingEngine {
  readonly #options: TrainingEngineOptions;
  readonly #workspace = new Workspace();
  readonly #memory: PassMemory;
  readonly #contexts: ModelContexts;
  readonly #training = new Map<string, Promise<TrainingProgram>>();
  readonly #evaluation = new Map<string, Promise<TrainingProgram>>();
  readonly #reference: ReferencePass | undefined;
  readonly #gradients: GradientSink;
  readonly #head: HeadPass;

  constructor(options: TrainingEngineOptions) {
    this.#options = options;
    const { backend, store, model, objective, reference, referenceTop } = options;
    const { deviceMemory } = backend;
    this.#gradients = deviceMemory ? new GradientsOnDevice(store, deviceMemory) : new GradientAccumulators(store);
    this.#memory = createPassMemory(backend, this.#workspace);
    this.#contexts = createContexts(model, (graph, named) => compileToStay(backend, graph, named));
    this.#reference = reference && new ReferencePass(reference, backend);
    this.#head = new HeadPass({ memory: this.#memory, gradients: this.#gradients, store, model, objective, reference, referenceTop });
  }

  async accumulate(given: Batch, { gradientScale, seed, routerAuxLossCoef = 0 }: AccumulateOptions): Promise<StepResult> {
    const { batch, layout } = withVirtualTokens(given, this.#options.model, this.#options.method);
    const chunks = chunksOf(batch);
    const program = await cached(this.#training, keyOf(chunks), () => compileTraining(this.#options, chunks));
    const pass = this.#pass({ batch, layout, chunks, program, seed });
    const hidden = await pass.forward(true);
    const reference = await this.#reference?.forward(given);
    const topNumbers = this.#options.referenceTop?.numbersOf(given);
    const { result, hiddenGradient } = await this.#head.run({
      head: program.head,
      batch,
      hidden,
      reference,
      topNumbers,
      gradientScale,
      seed,
    });
    for (const used of [hidden, reference?.hidden]) if (used) this.#memory.release(used);
    const balance = await this.#routerBalance(pass);
    const ofRouting = balance?.gradient.map((value) => value * routerAuxLossCoef * gradientScale * batch.targetLabels.length);
    const ofSides = ofRouting && {
      [routingOutputs.probabilities]: { dtype: "float32" as const, dims: [ofRouting.length], data: ofRouting },
    };
    await pass.backward(hiddenGradient!, this.#gradients, ofSides);
    await this.#gradients.finish();
    return { ...result, ...(balance && { routerAuxLoss: balance.loss }) };
  }

  /** Of what the blocks of a pass say; undefined where they say nothing. */
  async #routerBalance({ sideOutputs }: ModelPass): Promise<RouterBalance | undefined> {
    const read = async (name: string): Promise<Float32Array> => {
      const sum = sideOutputs.get(name)!;
      const { data } = await this.#memory.toHost(sum);
      this.#memory.release(sum);
      return data as Float32Array;
    };
    if (sideOutputs.size === 0) return undefined;
    const { choices, probabilities } = routingOutputs;
    return routerBalance({ choices: await read(choices), probabilities: await read(probabilities) }, this.#options.model.routing!);
  }

  async evaluate(given: Batch): Promise<EvaluationResult> {
    const { batch, layout } = withVirtualTokens(given, this.#options.model, this.#options.method);
    const chunks = chunksOf(batch);
    const program = await cached(this.#evaluation, keyOf(chunks), () => compileEvaluation(this.#options, chunks));
    const hidden = await this.#pass({ batch, layout, chunks, program, seed: 0 }).forward(false);
    const { result, perTarget, predictions } = await this.#head.run({ head: program.head, batch, hidden });
    this.#memory.release(hidden);
    return { ...result, perTarget, ...(predictions && { predictions }) };
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
    const optimizer = this.#options.optimizer!;
    if (!optimizer.isOnDevice) await this.#bringTrainedToHost();
    await optimizer.update({ learningRate, step, gradientScale });
    this.discardGradients();
  }

  discardGradients(): void {
    this.#gradients.discard();
  }

  async readState(): Promise<EngineState> {
    const { store, optimizer } = this.#options;
    if (optimizer && !optimizer.isOnDevice) await store.weights.toHost();
    const parameters = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    for (const [name, { dims, data }] of await store.weights.copyToHost()) parameters.set(name, { shape: dims, data });
    return { parameters, optimizer: (await optimizer?.readState()) ?? new Map() };
  }

  async writeState({ parameters, optimizer }: EngineState): Promise<void> {
    await this.writeWeights(parameters);
    await this.#options.optimizer?.writeState(optimizer);
  }

  async writeWeights(weights: TrainedWeights): Promise<void> {
    const { store } = this.#options;
    await store.weights.toHost();
    for (const [name, { data }] of weights) (store.parameters.get(name)!.tensor.data as Float32Array).set(data);
  }

  async #bringTrainedToHost(): Promise<void> {
    const { weights, gradients } = this.#options.store;
    await weights.toHost();
    await gradients.toHost();
  }

  /** What the compiled graphs need at most for values between their inputs and outputs. */
  async workingBytes(given: Batch): Promise<WorkingBytes> {
    const { batch } = withVirtualTokens(given, this.#options.model, this.#options.method);
    const chunks = chunksOf(batch);
    const program = await cached(this.#training, keyOf(chunks), () => compileTraining(this.#options, chunks));
    const takesAll = "readsLabels" in this.#options.objective;
    const rows = takesAll
      ? batch.targetPositions.length
      : Math.min(batch.targetLabels.length, rowsAtOnce(program.head, this.#options.model.vocabSize));
    const graphs = new Map<string, { readonly bytes: number; readonly keeps: boolean }>();
    const measure = (
      segments: readonly Pick<CompiledSegment, "forwardGraph" | "backward">[],
      sizes: { tokens: number; chunks: number },
    ): void => {
      const bindings = {
        ...{ batch: batch.batchSize, tokenChunk: sizes.tokens / sizes.chunks, positions: sizes.tokens, rows },
        ...{ labels: batch.targetLabels.length, ...targetSizes(batch, program.head.forwardGraph) },
        ...(batch.encoder && { encoderTokens: batch.encoder.tokens }),
      };
      for (const { forwardGraph, backward } of segments) {
        for (const graph of [forwardGraph, backward?.graph]) {
          if (!graph || graphs.has(printGraph(graph))) continue;
          // What the blocks give has slots; of what the head gives only gradients of parameters have a place.
          const held = (output: string): boolean => forwardGraph !== program.head.forwardGraph || denseGradientOf(output) !== undefined;
          const bytes = peakIntermediateBytes({ graph, bindings, held });
          graphs.set(printGraph(graph), { bytes, keeps: graph === backward?.graph });
        }
      }
    };
    const { encoder, trunk, head } = program;
    if (encoder) measure(segmentsOf(encoder), { tokens: batch.encoder!.tokens, chunks: chunks.encoder! });
    measure([...segmentsOf(trunk), head], { tokens: batch.tokens, chunks: chunks.trunk });
    const sizes = (keeps: boolean): number[] => [...graphs.values()].flatMap((graph) => (graph.keeps === keeps ? [graph.bytes] : []));
    return { kept: sizes(true).reduce((sum, bytes) => sum + bytes, 0), passing: Math.max(0, ...sizes(false)) };
  }

  /** Of the tensors that live between calls. */
  memoryBytes(): number {
    const { store, optimizer } = this.#options;
    return store.frozenBytes + store.trainedBytes + (optimizer?.stateBytes ?? 0) + this.#workspace.sizeBytes;
  }
}

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
