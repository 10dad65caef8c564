/**
 * Runs training steps segment by segment: forward through the blocks keeping what their backward graphs need, the head
 * in chunks of rows so that logits stay small, then backward through the blocks. Implements the trainers' port.
 */
import type { Backend, HostTensor } from "../backends/backend.ts";
import type { Batch } from "../data/batch.ts";
import { type Graph, printGraph } from "../tensor/graph.ts";
import { peakIntermediateBytes } from "../tensor/liveness.ts";
import { type DimBindings, evaluateShape } from "../tensor/shape.ts";
import { BatchContexts, type BlockContext, chooseChunks, int64 } from "./batch-context.ts";
import type { EngineState, EvaluationResult, StepResult, TrainingEngine } from "./engine.ts";
import type { OptimizerOnGroups } from "./optimizer-on-groups.ts";
import type { ParameterStore } from "./parameter-store.ts";
import { referenceInputs } from "./reference-model.ts";
import {
  type CompiledSegment,
  compileEvaluation,
  compileTraining,
  compileTrunk,
  type ProgramOptions,
  type TrainingProgram,
  type Trunk,
} from "./training-program.ts";
import { Workspace } from "./workspace.ts";

/** Bytes of logits that one call of the head may make; more targets than fit are taken in several calls. */
const logitBytes = 24 * 1024 ** 2;
const rowsAtOnce = (vocabSize: number): number => Math.max(32, Math.floor(logitBytes / (4 * vocabSize)));

export interface TrainingEngineOptions extends ProgramOptions {
  readonly store: ParameterStore;
  readonly optimizer?: OptimizerOnGroups;
}

export class SegmentedTrainingEngine implements TrainingEngine {
  readonly #options: TrainingEngineOptions;
  readonly #backend: Backend;
  readonly #workspace = new Workspace();
  readonly #contexts: BatchContexts;
  readonly #training = new Map<number, Promise<TrainingProgram>>();
  readonly #evaluation = new Map<number, Promise<TrainingProgram>>();
  readonly #reference = new Map<number, Promise<Trunk>>();
  readonly #referenceWorkspace = new Workspace();
  #referenceContexts: BatchContexts | undefined;
  /** Parameters whose accumulator already holds a gradient of the step under way. */
  readonly #accumulated = new Set<string>();

  constructor(options: TrainingEngineOptions) {
    this.#options = options;
    this.#backend = options.backend;
    this.#contexts = new BatchContexts(options.model, options.backend);
  }

  /** Forward and backward of one micro-batch. Adds d(lossSum)/d(parameter) * gradientScale to the accumulators. */
  async accumulate(batch: Batch, { gradientScale, seed }: { gradientScale: number; seed: number }): Promise<StepResult> {
    const chunks = chooseChunks(batch.tokens);
    const program = await cached(this.#training, chunks, () => compileTraining(this.#options, chunks));
    const context = await this.#contexts.create(batch, chunks);
    const pass = new Pass({ batch, chunks, program, context, seed, store: this.#options.store, workspace: this.#workspace });
    const hidden = await pass.forward(true);
    const referenceHidden = await this.#referenceForward(batch, chunks);
    const { result, hiddenGradient } = await this.#head({ program, pass, hidden, referenceHidden, gradientScale });
    await pass.backward(
      hiddenGradient,
      (name, gradient) => this.#add(name, gradient),
      (name) => this.#target(name),
    );
    return result;
  }

  async evaluate(batch: Batch): Promise<EvaluationResult> {
    const chunks = chooseChunks(batch.tokens);
    const program = await cached(this.#evaluation, chunks, () => compileEvaluation(this.#options, chunks));
    const context = await this.#contexts.create(batch, chunks);
    const pass = new Pass({ batch, chunks, program, context, seed: 0, store: this.#options.store, workspace: this.#workspace });
    const { result, perTarget } = await this.#head({ program, pass, hidden: await pass.forward(false) });
    return { ...result, perTarget };
  }

  /** Global L2 norm of the accumulated gradients. */
  async gradientNorm(): Promise<number> {
    let sum = 0;
    for (const { gradients } of this.#options.store.groups) for (let i = 0; i < gradients.length; i++) sum += gradients[i]! * gradients[i]!;
    return Math.sqrt(sum);
  }

  /** One optimizer step on gradients times `gradientScale`; the accumulators start afresh. */
  async update({ learningRate, step, gradientScale }: { learningRate: number; step: number; gradientScale: number }): Promise<void> {
    await this.#options.optimizer!.update({ learningRate, step, gradientScale });
    this.discardGradients();
  }

  discardGradients(): void {
    this.#accumulated.clear();
    // Parameters without a gradient in the next step must not keep this one's.
    for (const { gradients } of this.#options.store.groups) gradients.fill(0);
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
  async workingBytes(batch: Batch): Promise<number> {
    const chunks = chooseChunks(batch.tokens);
    const program = await cached(this.#training, chunks, () => compileTraining(this.#options, chunks));
    const rows = Math.min(batch.targetLabels.length, rowsAtOnce(this.#options.model.vocabSize));
    const bindings = { batch: batch.batchSize, tokenChunk: batch.tokens / chunks, positions: batch.tokens, rows };
    const graphs = new Map<string, number>();
    for (const { forwardGraph, backward } of [program.embedding, ...program.blocks, program.head]) {
      for (const graph of [forwardGraph, backward?.graph]) {
        if (!graph || graphs.has(printGraph(graph))) continue;
        graphs.set(printGraph(graph), peakIntermediateBytes({ graph, bindings, held: () => forwardGraph !== program.head.forwardGraph }));
      }
    }
    return [...graphs.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  memoryBytes(): number {
    const { store, optimizer } = this.#options;
    return store.frozenBytes + store.trainedBytes + (optimizer?.stateBytes ?? 0) + this.#workspace.sizeBytes;
  }

  /** The reference model's hidden state after its last block [B, T, C']; undefined without a reference model. */
  async #referenceForward(batch: Batch, chunks: number): Promise<HostTensor | undefined> {
    const { reference } = this.#options;
    if (!reference) return undefined;
    const program = await cached(this.#reference, chunks, () => compileTrunk({ ...reference, backend: this.#backend }, chunks));
    this.#referenceContexts ??= new BatchContexts(reference.model, this.#backend);
    const context = await this.#referenceContexts.create(batch, chunks);
    const { store } = reference;
    return new Pass({ batch, chunks, program, context, seed: 0, store, workspace: this.#referenceWorkspace }).forward(false);
  }

  async #head({ program, pass, hidden, referenceHidden, gradientScale }: HeadCall) {
    const { model, store, reference } = this.#options;
    const { batch } = pass;
    const C = model.hiddenSize;
    const N = batch.targetPositions.length;
    const most = rowsAtOnce(model.vocabSize);
    const training = gradientScale !== undefined;
    const perTarget = new Float32Array(N);
    const hiddenGradient = training ? this.#workspace.float32("hidden.gradient.0", hidden.dims) : undefined;
    (hiddenGradient?.data as Float32Array | undefined)?.fill(0);
    let [lossSum, correct, tokens] = [0, 0, 0];
    for (let start = 0; start < N; start += most) {
      const n = Math.min(most, N - start);
      const positions = batch.targetPositions.subarray(start, start + n);
      const rows = this.#gatherRows("head.rows", hidden, positions);
      const weights = batch.targetWeights?.slice(start, start + n) ?? new Float32Array(n).fill(1);
      const inputs: Record<string, HostTensor> = {
        ...parameterInputs(program.head, program.head.forwardGraph, store),
        rows,
        labels: int64(batch.targetLabels.subarray(start, start + n), [n]),
        weights: { dtype: "float32", dims: [n], data: weights },
        ...(training && { gradientScale: { dtype: "float32" as const, dims: [], data: Float32Array.of(gradientScale) } }),
        ...(referenceHidden && {
          ...referenceInputs(reference!, program.head.forwardGraph),
          referenceRows: this.#gatherRows("head.referenceRows", referenceHidden, positions),
        }),
      };
      const gradients: Record<string, HostTensor> = {};
      for (const [local, spec] of program.head.segment.parameters) {
        const name = `gradient.${local}`;
        if (program.head.forwardGraph.outputs.has(name))
          gradients[name] = this.#target(spec.name) ?? this.#workspace.float32(`head.${name}`, spec.shape);
      }
      const outputs = await program.head.forward.run(only(inputs, program.head.forwardGraph), gradients);
      lossSum += (outputs.lossSum!.data as Float32Array)[0]!;
      const [losses, hits] = [outputs.targetLosses!.data as Float32Array, outputs.correct!.data as Float32Array];
      perTarget.set(losses, start);
      for (let i = 0; i < n; i++) {
        if (weights[i] === 0) continue;
        tokens++;
        correct += hits[i]!;
      }
      const rowGradients = outputs["rows.gradient"]?.data as Float32Array | undefined;
      if (rowGradients && hiddenGradient) {
        const to = hiddenGradient.data as Float32Array;
        for (let i = 0; i < n; i++) to.set(rowGradients.subarray(i * C, (i + 1) * C), batch.targetPositions[start + i]! * C);
      }
      for (const [local, spec] of program.head.segment.parameters) {
        const gradient = outputs[`gradient.${local}`];
        if (gradient) this.#add(spec.name, gradient);
      }
    }
    return { result: { lossSum, correct, tokens }, perTarget, hiddenGradient };
  }

  /** Rows of a hidden state [B, T, C] at flat positions, [n, C]. */
  #gatherRows(slot: string, { data, dims }: HostTensor, positions: Int32Array): HostTensor {
    const C = dims.at(-1)!;
    const rows = this.#workspace.float32(slot, [positions.length, C]);
    positions.forEach((position, i) => {
      (rows.data as Float32Array).set((data as Float32Array).subarray(position * C, (position + 1) * C), i * C);
    });
    return rows;
  }

  /** The accumulator itself while it is empty: the backward graph then writes straight into it. */
  #target(name: string): HostTensor | undefined {
    if (this.#accumulated.has(name)) return undefined;
    const { gradient, spec } = this.#options.store.parameters.get(name)!;
    return { dtype: "float32", dims: spec.shape, data: gradient! };
  }

  #add(name: string, tensor: HostTensor): void {
    const accumulator = this.#options.store.parameters.get(name)!.gradient!;
    const data = tensor.data as Float32Array;
    if (data === accumulator) {
      this.#accumulated.add(name);
      return;
    }
    if (this.#accumulated.has(name)) for (let i = 0; i < data.length; i++) accumulator[i]! += data[i]!;
    else accumulator.set(data);
    this.#accumulated.add(name);
  }
}

interface HeadCall {
  readonly program: TrainingProgram;
  readonly pass: Pass;
  /** [B, T, C]. */
  readonly hidden: HostTensor;
  readonly referenceHidden?: HostTensor | undefined;
  /** Absent when evaluating. */
  readonly gradientScale?: number;
}

interface PassOptions {
  readonly batch: Batch;
  readonly chunks: number;
  readonly program: Trunk;
  readonly context: BlockContext;
  readonly seed: number;
  readonly store: Pick<ParameterStore, "parameters">;
  readonly workspace: Workspace;
}

/** One batch on its way through the blocks. */
class Pass {
  readonly batch: Batch;
  readonly program: Trunk;
  readonly #options: PassOptions;
  readonly #bindings: DimBindings;
  /** Inputs of every segment that needs a backward pass, with what it kept. */
  readonly #held: Record<string, HostTensor>[] = [];

  constructor(options: PassOptions) {
    this.#options = options;
    this.batch = options.batch;
    this.program = options.program;
    this.#bindings = { batch: options.batch.batchSize, tokenChunk: options.batch.tokens / options.chunks };
  }

  /** @returns hidden state after the last block [B, T, C] */
  async forward(holds: boolean): Promise<HostTensor> {
    const { batch, program, context } = this.#options;
    const dims = [batch.batchSize, batch.tokens];
    let hidden = await this.#runForward(program.embedding, {
      index: 0,
      inputs: { inputIds: int64(batch.inputIds, dims), positionIds: int64(batch.positionIds, dims) },
      hiddenSlot: "hidden.0",
      holds,
    });
    for (const [layer, block] of program.blocks.entries()) {
      // A block with a backward pass needs its input again; otherwise two slots take turns.
      const hiddenSlot =
        holds && (block.backward || program.blocks[layer + 1]?.backward) ? `hidden.${layer + 1}` : `hidden.turn.${layer % 2}`;
      hidden = await this.#runForward(block, { index: layer + 1, inputs: { ...context(layer), hidden }, hiddenSlot, holds });
    }
    return hidden;
  }

  async backward(
    gradient: HostTensor | undefined,
    add: (parameter: string, gradient: HostTensor) => void,
    target: (parameter: string) => HostTensor | undefined,
  ): Promise<void> {
    const { program, workspace } = this.#options;
    if (!gradient) return;
    let current = gradient;
    const segments = [program.embedding, ...program.blocks];
    for (let index = segments.length - 1; index >= 0; index--) {
      const { backward, segment } = segments[index]!;
      if (!backward) return;
      const outputs: Record<string, HostTensor> = {};
      for (const [name, value] of backward.graph.outputs) {
        if (name === "hidden.gradient")
          outputs[name] = workspace.float32(`hidden.gradient.${this.#otherSlot(current)}`, evaluateShape(value.shape, this.#bindings));
        else {
          const parameter = segment.parameters.get(name.slice("gradient.".length))!.name;
          const accumulator = target(parameter);
          if (accumulator) outputs[name] = accumulator;
        }
      }
      const results = await backward.executable.run(only({ ...this.#held[index]!, "output.gradient": current }, backward.graph), outputs);
      for (const [name, tensor] of Object.entries(results)) {
        if (name !== "hidden.gradient") add(segment.parameters.get(name.slice("gradient.".length))!.name, outputs[name] ?? tensor);
      }
      const next = results["hidden.gradient"];
      if (!next) return;
      current = outputs["hidden.gradient"] ?? next;
    }
  }

  #otherSlot(current: HostTensor): 0 | 1 {
    const zero = this.#options.workspace.float32("hidden.gradient.0", current.dims);
    return (current.data as Float32Array).buffer === (zero.data as Float32Array).buffer ? 1 : 0;
  }

  async #runForward(compiled: CompiledSegment, { index, inputs, hiddenSlot, holds }: ForwardCall): Promise<HostTensor> {
    const { store, workspace, seed } = this.#options;
    const all: Record<string, HostTensor> = {
      ...inputs,
      ...parameterInputs(compiled, undefined, store),
      // Every segment draws from its own stream, the same in forward and backward.
      seed: { dtype: "int64", dims: [], data: BigInt64Array.of(BigInt(seed) * 65537n + BigInt(index)) },
    };
    const outputs: Record<string, HostTensor> = {};
    for (const [name, value] of compiled.forwardGraph.outputs) {
      const slot = name === "hidden" ? hiddenSlot : `${name}.${index}`;
      if (name === "hidden" || holds) outputs[name] = workspace.float32(slot, evaluateShape(value.shape, this.#bindings));
    }
    const results = await compiled.forward.run(only(all, compiled.forwardGraph), outputs);
    if (holds && compiled.backward) {
      const kept = Object.fromEntries(compiled.backward.kept.map((name) => [name, outputs[name] ?? results[name]!]));
      this.#held[index] = { ...all, ...kept };
    }
    return outputs.hidden!;
  }
}

interface ForwardCall {
  readonly index: number;
  readonly inputs: Record<string, HostTensor>;
  readonly hiddenSlot: string;
  readonly holds: boolean;
}

function parameterInputs(
  { segment }: CompiledSegment,
  graph: Graph | undefined,
  store: Pick<ParameterStore, "parameters">,
): Record<string, HostTensor> {
  const inputs: Record<string, HostTensor> = {};
  for (const [local, spec] of segment.parameters)
    if (!graph || graph.inputs.has(local)) inputs[local] = store.parameters.get(spec.name)!.tensor;
  return inputs;
}

/** The tensors that a graph declares as inputs. */
function only(tensors: Record<string, HostTensor>, graph: Graph): Record<string, HostTensor> {
  const wanted: Record<string, HostTensor> = {};
  for (const name of graph.inputs.keys()) wanted[name] = tensors[name]!;
  return wanted;
}

async function cached<Key, Made>(made: Map<Key, Promise<Made>>, key: Key, make: () => Promise<Made>): Promise<Made> {
  let promise = made.get(key);
  if (!promise) {
    promise = make();
    made.set(key, promise);
  }
  return promise;
}
