/** One batch on its way through one stack of blocks: forward keeping what the backward graphs need, then backward. */
import { type HostTensor, isOnDevice, type Tensor } from "../backends/backend.ts";
import type { TokenRows } from "../data/batch.ts";
import { namedTensors } from "../models/storage.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Graph } from "../tensor/graph.ts";
import { type DimBindings, evaluateShape } from "../tensor/shape.ts";
import { type BlockContext, int64 } from "./batch-context.ts";
import { outputGradientName } from "./differentiate-segment.ts";
import { denseGradientOf, type GradientPlace, type GradientSink } from "./parameter-gradients.ts";
import type { PassMemory, PassStore } from "./pass-memory.ts";
import type { CompiledSegment, Trunk } from "./training-program.ts";

export interface StackPassOptions {
  readonly batchSize: number;
  readonly rows: TokenRows;
  readonly chunks: number;
  readonly trunk: Trunk;
  readonly context: BlockContext;
  readonly seed: bigint;
  /** Begins the names of slots, which stacks share. */
  readonly slots: string;
  readonly store: PassStore;
  readonly memory: PassMemory;
  /** What the encoder made, [B, S, C], where the blocks attend to it. */
  readonly encoderHidden?: Tensor | undefined;
}

export class StackPass {
  readonly #options: StackPassOptions;
  readonly #bindings: DimBindings;
  /** Inputs of every segment that needs a backward pass, with what it kept. */
  readonly #held: Record<string, Tensor>[] = [];
  /** Names of the held tensors that nothing but the segment's backward pass reads. */
  readonly #own: string[][] = [];
  /** What all blocks read, where the graphs run. */
  readonly #shared = new Map<Tensor, Promise<Tensor>>();
  #positionBias: Record<string, Tensor> = {};
  /** Gradients of what all blocks read, summed over the blocks. */
  readonly #sums = new Map<string, Tensor>();
  readonly #sideOutputs = new Map<string, Tensor>();

  constructor(options: StackPassOptions) {
    this.#options = options;
    const { batchSize, rows, chunks, encoderHidden } = options;
    this.#bindings = {
      ...{ batch: batchSize, tokenChunk: rows.tokens / chunks },
      ...(encoderHidden && { encoderTokens: encoderHidden.dims[1]! }),
    };
  }

  /** @returns hidden state after the last block [B, T, C] */
  async forward(holds: boolean): Promise<Tensor> {
    const { trunk, context, encoderHidden } = this.#options;
    const { embedding, positionBias, blocks } = trunk;
    const embedded = await this.#runForward(embedding, { index: 0, inputs: this.#embeddingInputs(), slotOf: () => "hidden.0", holds });
    if (positionBias) {
      const inputs = await this.#bring(context(0), positionBias);
      this.#positionBias = await this.#runForward(positionBias, { index: this.#biasIndex, inputs, slotOf: (name) => name, holds });
    }
    let hidden = embedded.hidden!;
    for (const [layer, block] of blocks.entries()) {
      // A block with a backward pass needs its input again; otherwise two slots take turns.
      const hiddenSlot = holds && (block.backward || blocks[layer + 1]?.backward) ? `hidden.${layer + 1}` : `hidden.turn.${layer % 2}`;
      const shared = { ...(await this.#bring(context(layer), block)), ...this.#positionBias, ...(encoderHidden && { encoderHidden }) };
      const slotOf = (name: string): string => (name === "hidden" ? hiddenSlot : name);
      const { hidden: next, ...beside } = await this.#runForward(block, { index: layer + 1, inputs: { ...shared, hidden }, slotOf, holds });
      if (!(holds && block.backward)) this.#options.memory.release(hidden);
      hidden = next!;
      for (const [name, output] of Object.entries(beside))
        this.#sideOutputs.set(name, await this.#options.memory.add(this.#sideOutputs.get(name), output));
    }
    if (!holds) await this.#releaseShared();
    return hidden;
  }

  /** What blocks gave beside their hidden states in the forward pass, summed over the blocks; the caller takes them over. */
  get sideOutputs(): ReadonlyMap<string, Tensor> {
    return this.#sideOutputs;
  }

  /**
   * @param ofSides gradients of what blocks gave beside their hidden states, by output, the same for every block
   * @returns the gradient of the encoder's output, summed over all blocks that read it; undefined where none is needed
   */
  async backward(
    gradient: Tensor,
    accumulators: GradientSink,
    ofSides: Readonly<Record<string, Tensor>> = {},
  ): Promise<Tensor | undefined> {
    const { memory, trunk } = this.#options;
    const { embedding, positionBias, blocks } = trunk;
    let current: Tensor | undefined = gradient;
    for (const [index, segment] of [...[embedding, ...blocks].entries()].reverse()) {
      if (!current) break;
      const next: Tensor | undefined = await this.#runBackward(segment, {
        index,
        gradients: { ...ofSides, hidden: current },
        accumulators,
      });
      memory.release(current);
      current = next;
    }
    if (positionBias?.backward) {
      const gradients = Object.fromEntries(Object.keys(this.#positionBias).map((name) => [name, this.#sums.get(`${name}.gradient`)!]));
      await this.#runBackward(positionBias, { index: this.#biasIndex, gradients, accumulators });
      for (const used of Object.values(gradients)) memory.release(used);
    }
    await this.#releaseShared();
    return this.#sums.get(encoderGradient);
  }

  /** @returns the gradient of the hidden state that the segment read; undefined where there is none */
  async #runBackward(
    { backward, segment }: CompiledSegment,
    { index, gradients, accumulators }: BackwardCall,
  ): Promise<Tensor | undefined> {
    if (!backward) return undefined;
    const { memory } = this.#options;
    const placeOf = (local: string): GradientPlace => ({ parameter: segment.parameters.get(local)!.name });
    const outputs: Record<string, HostTensor> = {};
    for (const [name, { shape }] of backward.graph.outputs) {
      const local = denseGradientOf(name);
      const slot = name === hiddenGradient ? `${name}.${this.#otherSlot(gradients.hidden!)}` : name;
      const given =
        name === hiddenGradient || isShared(name)
          ? this.#slot(slot, evaluateShape(shape, this.#bindings))
          : local !== undefined
            ? accumulators.target(placeOf(local))
            : undefined;
      if (given) outputs[name] = given;
    }
    const held = this.#held[index]!;
    const seeds = Object.fromEntries(Object.entries(gradients).map(([name, tensor]) => [outputGradientName(name), tensor]));
    const results = await backward.executable.run(only({ ...held, ...seeds }, backward.graph), outputs);
    for (const name of this.#own[index]!) memory.release(held[name]!);
    const ofParameters: Record<string, Tensor> = {};
    for (const [name, result] of Object.entries({ ...results, ...outputs })) {
      if (name === hiddenGradient) continue;
      if (isShared(name)) this.#sums.set(name, await memory.add(this.#sums.get(name), result));
      else ofParameters[name] = result;
    }
    await accumulators.addAll(ofParameters, placeOf);
    return outputs[hiddenGradient] ?? results[hiddenGradient];
  }

  #embeddingInputs(): Record<string, HostTensor> {
    const { batchSize, rows, trunk } = this.#options;
    const dims = [batchSize, rows.tokens];
    const tokenTypeIds = trunk.stack.readsTokenTypes && int64(rows.tokenTypeIds ?? new Int32Array(rows.inputIds.length), dims);
    return { inputIds: int64(rows.inputIds, dims), positionIds: int64(rows.positionIds, dims), ...(tokenTypeIds && { tokenTypeIds }) };
  }

  #slot(name: string, dims: readonly number[], dtype: DType = "float32"): HostTensor | undefined {
    return this.#options.memory.slot(`${this.#options.slots}${name}`, { dtype, dims });
  }

  /** The slot for the next gradient: not the one that holds the present. */
  #otherSlot(current: Tensor): 0 | 1 {
    const zero = this.#slot("hidden.gradient.0", current.dims);
    return zero && !isOnDevice(current) && current.data.buffer === zero.data.buffer ? 1 : 0;
  }

  /** What the segment reads of its context, where the graphs run. */
  async #bring(context: Record<string, Tensor>, { forwardGraph, backward }: CompiledSegment): Promise<Record<string, Tensor>> {
    const isRead = (name: string): boolean => forwardGraph.inputs.has(name) || backward?.graph.inputs.has(name) === true;
    const brought: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(context)) {
      // What was made on the device is released with the rest, read or not.
      if (!isRead(name) && !isOnDevice(tensor)) continue;
      if (!this.#shared.has(tensor)) this.#shared.set(tensor, this.#options.memory.bring(tensor));
      brought[name] = await this.#shared.get(tensor)!;
    }
    return brought;
  }

  async #releaseShared(): Promise<void> {
    const shared = [...(await Promise.all(this.#shared.values())), ...Object.values(this.#positionBias)];
    for (const tensor of shared) this.#options.memory.release(tensor);
    this.#shared.clear();
    this.#positionBias = {};
  }

  /** @returns the segment's own outputs */
  async #runForward(compiled: CompiledSegment, { index, inputs, slotOf, holds }: ForwardCall): Promise<Record<string, Tensor>> {
    const { store, seed, memory } = this.#options;
    const all: Record<string, Tensor> = {
      ...inputs,
      ...(await parameterInputs(compiled, undefined, { store, memory })),
      // Every segment draws from its own stream, the same in forward and backward.
      seed: { dtype: "int64", dims: [], data: BigInt64Array.of(seed + BigInt(index)) },
    };
    const outputs: Record<string, HostTensor> = {};
    const own = compiled.segment.graph.outputs;
    for (const [name, { dtype, shape }] of compiled.forwardGraph.outputs) {
      const slot = own.has(name) ? slotOf(name) : `${name}.${index}`;
      const given = own.has(name) || holds ? this.#slot(slot, evaluateShape(shape, this.#bindings), dtype) : undefined;
      if (given) outputs[name] = given;
    }
    const results = { ...(await compiled.forward.run(only(all, compiled.forwardGraph), outputs)), ...outputs };
    if (holds && compiled.backward) {
      const { kept } = compiled.backward;
      this.#held[index] = { ...all, ...Object.fromEntries(kept.map((name) => [name, results[name]!])) };
      this.#own[index] = [...kept, ...("hidden" in inputs ? ["hidden"] : [])];
    }
    return Object.fromEntries([...own.keys()].map((name) => [name, results[name]!]));
  }

  /** Behind those of the embedding and the blocks. */
  get #biasIndex(): number {
    return this.#options.trunk.blocks.length + 1;
  }
}

const hiddenGradient = "hidden.gradient";
const encoderGradient = "encoderHidden.gradient";
/** Gradients of what all blocks read: what the encoder made, and the position bias. */
const isShared = (output: string): boolean => output === encoderGradient || /^positionBias\.\d+\.gradient$/.test(output);

interface ForwardCall {
  readonly index: number;
  readonly inputs: Record<string, Tensor>;
  /** Where an output of the segment goes. */
  slotOf(output: string): string;
  readonly holds: boolean;
}

interface BackwardCall {
  readonly index: number;
  /** By output of the segment. */
  readonly gradients: Readonly<Record<string, Tensor>>;
  readonly accumulators: GradientSink;
}

/** The parameters of a segment under their local names, where they stay; with a graph, those that it reads. */
export async function parameterInputs(
  { segment }: CompiledSegment,
  graph: Graph | undefined,
  { store, memory }: { store: PassStore; memory: PassMemory },
): Promise<Record<string, Tensor>> {
  const inputs: Record<string, Tensor> = {};
  for (const [local, spec] of segment.parameters) {
    const trained = await memory.trained(store, spec.name);
    const tensors = trained ? { [local]: trained } : namedTensors<Tensor>(local, store.parameters.get(spec.name)!);
    for (const [name, tensor] of Object.entries(tensors)) {
      if (graph && !graph.inputs.has(name)) continue;
      inputs[name] = isOnDevice(tensor) ? tensor : await memory.resident(`${spec.name} ${name}`, tensor);
    }
  }
  for (const [name, { spec, start, end }] of segment.pieces ?? [])
    for (const [part, tensor] of Object.entries(namedTensors<HostTensor>(name, store.parameters.get(spec.name)!)))
      inputs[part] = await memory.resident(part, rowsOf(tensor, start, end));
  return inputs;
}

/** Rows of a table, in the table's own memory. */
function rowsOf({ dtype, dims, data }: HostTensor, start: number, end: number): HostTensor {
  const width = data.length / dims[0]!;
  return { dtype, dims: [end - start, ...dims.slice(1)], data: data.subarray(start * width, end * width) };
}

/** The tensors that a graph declares as inputs. */
export function only(tensors: Record<string, Tensor>, graph: Graph): Record<string, Tensor> {
  const wanted: Record<string, Tensor> = {};
  for (const name of graph.inputs.keys()) wanted[name] = tensors[name]!;
  return wanted;
}
