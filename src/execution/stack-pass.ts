/** One batch on its way through one stack of blocks: forward keeping what the backward graphs need, then backward. */
import { type HostTensor, isOnDevice, type Tensor } from "../backends/backend.ts";
import type { TokenRows } from "../data/batch.ts";
import { namedTensors } from "../models/storage.ts";
import type { Graph } from "../tensor/graph.ts";
import { type DimBindings, evaluateShape } from "../tensor/shape.ts";
import { type BlockContext, int64 } from "./batch-context.ts";
import { denseGradientOf, type GradientSink } from "./parameter-gradients.ts";
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
  #encoderGradient: Tensor | undefined;

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
    const { embedding, blocks } = trunk;
    let hidden = await this.#runForward(embedding, { index: 0, inputs: this.#embeddingInputs(), hiddenSlot: "hidden.0", holds });
    for (const [layer, block] of blocks.entries()) {
      // A block with a backward pass needs its input again; otherwise two slots take turns.
      const hiddenSlot = holds && (block.backward || blocks[layer + 1]?.backward) ? `hidden.${layer + 1}` : `hidden.turn.${layer % 2}`;
      const inputs = { ...(await this.#bring(context(layer))), ...(encoderHidden && { encoderHidden }), hidden };
      const next = await this.#runForward(block, { index: layer + 1, inputs, hiddenSlot, holds });
      if (!(holds && block.backward)) this.#options.memory.release(hidden);
      hidden = next;
    }
    if (!holds) await this.#releaseShared();
    return hidden;
  }

  /** @returns the gradient of the encoder's output, summed over all blocks that read it; undefined where none is needed */
  async backward(gradient: Tensor, accumulators: GradientSink): Promise<Tensor | undefined> {
    const { memory, trunk } = this.#options;
    const segments = [trunk.embedding, ...trunk.blocks];
    let current: Tensor = gradient;
    for (let index = segments.length - 1; index >= 0; index--) {
      const { backward, segment } = segments[index]!;
      if (!backward) break;
      const parameterOf = (local: string): string => segment.parameters.get(local)!.name;
      const outputs: Record<string, HostTensor> = {};
      for (const [name, { shape }] of backward.graph.outputs) {
        const local = denseGradientOf(name);
        const given = isInputGradient(name)
          ? this.#slot(name === hiddenGradient ? `${name}.${this.#otherSlot(current)}` : name, evaluateShape(shape, this.#bindings))
          : local !== undefined
            ? accumulators.target(parameterOf(local))
            : undefined;
        if (given) outputs[name] = given;
      }
      const held = this.#held[index]!;
      const results = await backward.executable.run(only({ ...held, "output.gradient": current }, backward.graph), outputs);
      for (const name of this.#own[index]!) memory.release(held[name]!);
      memory.release(current);
      const { [hiddenGradient]: ofHidden, [encoderGradient]: ofEncoder, ...ofParameters } = { ...results, ...outputs };
      if (ofEncoder) this.#encoderGradient = await memory.add(this.#encoderGradient, ofEncoder);
      await accumulators.addAll(ofParameters, parameterOf);
      if (!ofHidden) return this.#finish();
      current = ofHidden;
    }
    memory.release(current);
    return this.#finish();
  }

  async #finish(): Promise<Tensor | undefined> {
    await this.#releaseShared();
    return this.#encoderGradient;
  }

  #embeddingInputs(): Record<string, HostTensor> {
    const { batchSize, rows, trunk } = this.#options;
    const dims = [batchSize, rows.tokens];
    const tokenTypeIds = trunk.stack.readsTokenTypes && int64(rows.tokenTypeIds ?? new Int32Array(rows.inputIds.length), dims);
    return { inputIds: int64(rows.inputIds, dims), positionIds: int64(rows.positionIds, dims), ...(tokenTypeIds && { tokenTypeIds }) };
  }

  #slot(name: string, dims: readonly number[]): HostTensor | undefined {
    return this.#options.memory.slot(`${this.#options.slots}${name}`, dims);
  }

  /** The slot for the next gradient: not the one that holds the present. */
  #otherSlot(current: Tensor): 0 | 1 {
    const zero = this.#slot("hidden.gradient.0", current.dims);
    return zero && !isOnDevice(current) && current.data.buffer === zero.data.buffer ? 1 : 0;
  }

  async #bring(context: Record<string, Tensor>): Promise<Record<string, Tensor>> {
    const brought: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(context)) {
      if (!this.#shared.has(tensor)) this.#shared.set(tensor, this.#options.memory.bring(tensor));
      brought[name] = await this.#shared.get(tensor)!;
    }
    return brought;
  }

  async #releaseShared(): Promise<void> {
    for (const tensor of this.#shared.values()) this.#options.memory.release(await tensor);
    this.#shared.clear();
  }

  async #runForward(compiled: CompiledSegment, { index, inputs, hiddenSlot, holds }: ForwardCall): Promise<Tensor> {
    const { store, seed, memory } = this.#options;
    const all: Record<string, Tensor> = {
      ...inputs,
      ...(await parameterInputs(compiled, undefined, { store, memory })),
      // Every segment draws from its own stream, the same in forward and backward.
      seed: { dtype: "int64", dims: [], data: BigInt64Array.of(seed + BigInt(index)) },
    };
    const outputs: Record<string, HostTensor> = {};
    for (const [name, { shape }] of compiled.forwardGraph.outputs) {
      const slot = name === "hidden" ? hiddenSlot : `${name}.${index}`;
      const given = name === "hidden" || holds ? this.#slot(slot, evaluateShape(shape, this.#bindings)) : undefined;
      if (given) outputs[name] = given;
    }
    const results = { ...(await compiled.forward.run(only(all, compiled.forwardGraph), outputs)), ...outputs };
    if (holds && compiled.backward) {
      const { kept } = compiled.backward;
      this.#held[index] = { ...all, ...Object.fromEntries(kept.map((name) => [name, results[name]!])) };
      this.#own[index] = [...kept, ...("hidden" in inputs ? ["hidden"] : [])];
    }
    return results.hidden!;
  }
}

const hiddenGradient = "hidden.gradient";
const encoderGradient = "encoderHidden.gradient";
const isInputGradient = (name: string): boolean => name === hiddenGradient || name === encoderGradient;

interface ForwardCall {
  readonly index: number;
  readonly inputs: Record<string, Tensor>;
  readonly hiddenSlot: string;
  readonly holds: boolean;
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
    inputs[name] = await memory.resident(name, rowsOf(store.parameters.get(spec.name)!.tensor, start, end));
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
