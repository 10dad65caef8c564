/**
 * Where a pass keeps what goes from one graph to the next. In the host's memory these are named slots that every step reuses; on a
 * device with memory of its own, new tensors that the pass gives back, with frozen weights that are brought there once and trained ones
 * that stay there (trained-tensors.ts).
 */
import type { Backend, CompileOptions, HostTensor, Tensor } from "../backends/backend.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Graph } from "../tensor/graph.ts";
import type { ParameterStore } from "./weights/parameter-store.ts";

/** A graph whose results stay where they are made. */
export interface SegmentExecutable {
  run(inputs: Readonly<Record<string, Tensor>>, outputs?: Readonly<Record<string, HostTensor>>): Promise<Record<string, Tensor>>;
  dispose(): Promise<void>;
}

export interface StayOptions extends CompileOptions {
  /** Results that the host is to read, which come to it. */
  readonly toHost?: ReadonlySet<string>;
}

export function compileToStay(backend: Backend, graph: Graph, { toHost, ...options }: StayOptions): Promise<SegmentExecutable> {
  const { deviceMemory } = backend;
  if (!deviceMemory) return backend.compile(graph, options);
  return toHost ? deviceMemory.compileReporting(graph, { ...options, toHost }) : deviceMemory.compile(graph, options);
}

/** A store, or the frozen parameters of a model that nothing trains. */
export type PassStore = Pick<ParameterStore, "parameters"> & Partial<Pick<ParameterStore, "weights">>;

export interface PassMemory {
  /** What results of this name are written into; undefined where they get memory of the device. */
  slot(name: string, type: { readonly dtype: DType; readonly dims: readonly number[] }): HostTensor | undefined;
  /** A trained parameter where it stays on a device; undefined where the store's own tensor is read. */
  trained(store: PassStore, parameter: string): Promise<Tensor | undefined>;
  /** Until `dispose`: a tensor that does not change. */
  resident(name: string, tensor: HostTensor): Promise<Tensor>;
  /** For several graphs; the caller releases it. */
  bring(tensor: Tensor): Promise<Tensor>;
  toHost(tensor: Tensor): Promise<HostTensor>;
  /** Nothing reads this tensor any more. */
  release(tensor: Tensor): void;
  /** The sum of both, or the second where there is no first; both are used up. */
  add(sum: Tensor | undefined, tensor: Tensor): Promise<Tensor>;
  /** Rows of a hidden state [B, T, C] at flat positions, [n, C]. @param slot for their memory */
  gatherRows(slot: string, hidden: Tensor, positions: Int32Array): Promise<Tensor>;
  /** The gradient of a hidden state [B, T, C], of which only rows come in. */
  rowsGradient(hidden: Tensor): RowsGradient;
  /** Gives back what is resident. */
  dispose(): Promise<void>;
}

export interface RowsGradient {
  /** Takes in the gradient [n, C] of rows that no other call gives. */
  add(rows: Tensor, positions: Int32Array): Promise<void>;
  /** [B, T, C]; zeros where no row came in. */
  finish(): Promise<Tensor>;
}
