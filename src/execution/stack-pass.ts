/** One batch on its way through one stack of blocks: forward keeping what the backward graphs need, then backward. */
import type { HostTensor } from "../backends/backend.ts";
import type { TokenRows } from "../data/batch.ts";
import { namedTensors } from "../models/storage.ts";
import type { Graph } from "../tensor/graph.ts";
import { type DimBindings, evaluateShape } from "../tensor/shape.ts";
import { type BlockContext, int64 } from "./batch-context.ts";
import { denseGradientOf, type GradientAccumulators } from "./parameter-gradients.ts";
import type { ParameterStore } from "./parameter-store.ts";
import type { CompiledSegment, Trunk } from "./training-program.ts";
import type { Workspace } from "./workspace.ts";

export interface StackPassOptions {
  readonly batchSize: number;
  readonly rows: TokenRows;
  readonly chunks: number;
  readonly trunk: Trunk;
  readonly context: BlockContext;
  readonly seed: bigint;
  /** Begins the names of buffers in the workspace, which stacks share. */
  readonly slots: string;
  readonly store: Pick<ParameterStore, "parameters">;
  readonly workspace: Workspace;
  /** What the encoder made, [B, S, C], where the blocks attend to it. */
  readonly encoderHidden?: HostTensor | undefined;
}

export class StackPass {
  readonly #options: StackPassOptions;
  readonly #bindings: DimBindings;
  /** Inputs of every segment that needs a backward pass, with what it kept. */
  readonly #held: Record<string, HostTensor>[] = [];
  #encoderGradient: HostTensor | undefined;

  constructor(options: StackPassOptions) {
    this.#options = options;
    const { batchSize, rows, chunks, encoderHidden } = options;
    this.#bindings = {
      ...{ batch: batchSize, tokenChunk: rows.tokens / chunks },
      ...(encoderHidden && { encoderTokens: encoderHidden.dims[1]! }),
    };
  }

  /** @returns hidden state after the last block [B, T, C] */
  async forward(holds: boolean): Promise<HostTensor> {
    const { trunk, context, encoderHidden } = this.#options;
    const { embedding, blocks } = trunk;
    let hidden = await this.#runForward(embedding, { index: 0, inputs: this.#embeddingInputs(), hiddenSlot: "hidden.0", holds });
    for (const [layer, block] of blocks.entries()) {
      // A block with a backward pass needs its input again; otherwise two slots take turns.
      const hiddenSlot = holds && (block.backward || blocks[layer + 1]?.backward) ? `hidden.${layer + 1}` : `hidden.turn.${layer % 2}`;
      const inputs = { ...context(layer), ...(encoderHidden && { encoderHidden }), hidden };
      hidden = await this.#runForward(block, { index: layer + 1, inputs, hiddenSlot, holds });
    }
    return hidden;
  }

  /** Memory for the gradient of the last hidden state; `backward` may start from it. */
  outputGradient(dims: readonly number[]): HostTensor {
    return this.#float32("hidden.gradient.0", dims);
  }

  /** @returns the gradient of the encoder's output, summed over all blocks that read it; undefined where none is needed */
  async backward(gradient: HostTensor, sink: GradientAccumulators): Promise<HostTensor | undefined> {
    const { embedding, blocks } = this.#options.trunk;
    const segments = [embedding, ...blocks];
    let current = gradient;
    for (let index = segments.length - 1; index >= 0; index--) {
      const { backward, segment } = segments[index]!;
      if (!backward) break;
      const parameterOf = (local: string): string => segment.parameters.get(local)!.name;
      const outputs: Record<string, HostTensor> = {};
      for (const [name, value] of backward.graph.outputs) {
        const local = denseGradientOf(name);
        const given = isInputGradient(name)
          ? this.#float32(
              name === hiddenGradient ? `${name}.${this.#otherSlot(current)}` : name,
              evaluateShape(value.shape, this.#bindings),
            )
          : local === undefined
            ? undefined
            : sink.target(parameterOf(local));
        if (given) outputs[name] = given;
      }
      const results = await backward.executable.run(only({ ...this.#held[index]!, "output.gradient": current }, backward.graph), outputs);
      sink.addAll(results, parameterOf, outputs);
      if (outputs[encoderGradient]) this.#addEncoderGradient(outputs[encoderGradient]);
      const next = outputs[hiddenGradient];
      if (!next) break;
      current = next;
    }
    return this.#encoderGradient;
  }

  #embeddingInputs(): Record<string, HostTensor> {
    const { batchSize, rows, trunk } = this.#options;
    const dims = [batchSize, rows.tokens];
    const tokenTypeIds = trunk.stack.readsTokenTypes && int64(rows.tokenTypeIds ?? new Int32Array(rows.inputIds.length), dims);
    return { inputIds: int64(rows.inputIds, dims), positionIds: int64(rows.positionIds, dims), ...(tokenTypeIds && { tokenTypeIds }) };
  }

  #addEncoderGradient(gradient: HostTensor): void {
    this.#encoderGradient ??= this.#zeros(`${encoderGradient}.sum`, gradient.dims);
    const [sum, added] = [this.#encoderGradient.data as Float32Array, gradient.data as Float32Array];
    for (let i = 0; i < sum.length; i++) sum[i]! += added[i]!;
  }

  #float32(slot: string, dims: readonly number[]): HostTensor {
    return this.#options.workspace.float32(`${this.#options.slots}${slot}`, dims);
  }

  #zeros(slot: string, dims: readonly number[]): HostTensor {
    const tensor = this.#float32(slot, dims);
    (tensor.data as Float32Array).fill(0);
    return tensor;
  }

  #otherSlot(current: HostTensor): 0 | 1 {
    const zero = this.#float32("hidden.gradient.0", current.dims);
    return (current.data as Float32Array).buffer === (zero.data as Float32Array).buffer ? 1 : 0;
  }

  async #runForward(compiled: CompiledSegment, { index, inputs, hiddenSlot, holds }: ForwardCall): Promise<HostTensor> {
    const { store, seed } = this.#options;
    const all: Record<string, HostTensor> = {
      ...inputs,
      ...parameterInputs(compiled, undefined, store),
      // Every segment draws from its own stream, the same in forward and backward.
      seed: { dtype: "int64", dims: [], data: BigInt64Array.of(seed + BigInt(index)) },
    };
    const outputs: Record<string, HostTensor> = {};
    for (const [name, value] of compiled.forwardGraph.outputs) {
      const slot = name === "hidden" ? hiddenSlot : `${name}.${index}`;
      if (name === "hidden" || holds) outputs[name] = this.#float32(slot, evaluateShape(value.shape, this.#bindings));
    }
    const results = await compiled.forward.run(only(all, compiled.forwardGraph), outputs);
    if (holds && compiled.backward) {
      const kept = Object.fromEntries(compiled.backward.kept.map((name) => [name, outputs[name] ?? results[name]!]));
      this.#held[index] = { ...all, ...kept };
    }
    return outputs.hidden!;
  }
}

const hiddenGradient = "hidden.gradient";
const encoderGradient = "encoderHidden.gradient";
const isInputGradient = (name: string): boolean => name === hiddenGradient || name === encoderGradient;

interface ForwardCall {
  readonly index: number;
  readonly inputs: Record<string, HostTensor>;
  readonly hiddenSlot: string;
  readonly holds: boolean;
}

/** The parameters of a segment under their local names; with a graph, those that it reads. */
export function parameterInputs(
  { segment }: CompiledSegment,
  graph: Graph | undefined,
  store: Pick<ParameterStore, "parameters">,
): Record<string, HostTensor> {
  const inputs: Record<string, HostTensor> = {};
  for (const [local, spec] of segment.parameters)
    for (const [name, tensor] of Object.entries(namedTensors(local, store.parameters.get(spec.name)!)))
      if (!graph || graph.inputs.has(name)) inputs[name] = tensor;
  for (const [name, { spec, start, end }] of segment.pieces ?? [])
    inputs[name] = rowsOf(store.parameters.get(spec.name)!.tensor, start, end);
  return inputs;
}

/** Rows of a table, in the table's own memory. */
function rowsOf({ dtype, dims, data }: HostTensor, start: number, end: number): HostTensor {
  const width = data.length / dims[0]!;
  return { dtype, dims: [end - start, ...dims.slice(1)], data: data.subarray(start * width, end * width) };
}

/** The tensors that a graph declares as inputs. */
export function only(tensors: Record<string, HostTensor>, graph: Graph): Record<string, HostTensor> {
  const wanted: Record<string, HostTensor> = {};
  for (const name of graph.inputs.keys()) wanted[name] = tensors[name]!;
  return wanted;
}
