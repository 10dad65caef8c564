/**
 * How a parameter is held: as numbers of some element type, or as codes that companion tensors (scales, tables) turn
 * into numbers. Graphs get the tensors as inputs and decode them where the parameter is used, so that what is held stays small.
 */
import type { DType } from "../tensor/dtype.ts";
import type { TensorType, Value } from "../tensor/graph.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { cast, type projectedLogSumExp } from "../tensor/ops/index.ts";
import type { ProjectedOptions } from "../tensor/ops/projected-log-sum-exp.ts";
import { valuesOf } from "./weights/element-types.ts";

/** The tensors of one parameter: its own, and companions by the end of their names (`weight` and `weight.absmax`). */
export interface StoredTensors<Tensor> {
  readonly tensor: Tensor;
  readonly companions?: Readonly<Record<string, Tensor>>;
}

export interface ParameterStorage {
  /** What holds a parameter of this shape. */
  types(shape: readonly number[]): StoredTensors<TensorType>;
  /** Graph: the parameter in float32, in its own shape. */
  decode(stored: StoredTensors<Value>, shape: readonly number[]): Value;
  /** The same on the host. */
  read(stored: StoredTensors<HostTensor>, shape: readonly number[]): Float32Array;
  /** Graph: rows of a table at integer indices, where they are not looked up among numbers. */
  rows?(stored: StoredTensors<Value>, indices: Value): Value;
  /** Row i of a table is row i of every tensor that holds it, so that a piece of a table is a piece of each. */
  readonly holdsRows?: boolean;
  /** Graph: what a vocabulary head needs, where the storage has a product of its own. */
  readonly vocabulary?: {
    /** Hidden states [N, C] as the product reads them. */
    asRead(x: Value): Value;
    sums(x: Value, stored: StoredTensors<Value>, options: Pick<ProjectedOptions, "softCap">): ReturnType<typeof projectedLogSumExp>;
  };
  /** Graph: x [..., in] times the weight of a linear layer, [..., out], where the storage has a product of its own. */
  product?(x: Value, stored: StoredTensors<Value>): Value;
  /**
   * Graph: the product with a decoded weight, in integers nearly so exact that it may stand for it where there is no gradient. For devices that
   * multiply 8-bit integers exactly (`whyNoInt8`).
   */
  nearProduct?(x: Value, stored: StoredTensors<Value>): Value;
  /** True if the numbers are not those of the checkpoint. */
  readonly isQuantised: boolean;
}

/** Numbers as they are, in one of the floating-point types. */
export const plain = (dtype: DType): ParameterStorage => ({
  types: (shape) => ({ tensor: { dtype, shape } }),
  decode: ({ tensor }) => (dtype === "float32" ? tensor : cast(tensor, "float32")),
  read: ({ tensor }) => valuesOf(tensor),
  isQuantised: false,
  holdsRows: true,
});

export const float32 = plain("float32");

/** The name of a companion, given the parameter's. */
export const companionName = (parameter: string, end: string): string => `${parameter}.${end}`;

/** Every tensor by its whole name, given the parameter's. */
export const namedTensors = <Tensor>(name: string, { tensor, companions = {} }: StoredTensors<Tensor>): Record<string, Tensor> => ({
  [name]: tensor,
  ...Object.fromEntries(Object.entries(companions).map(([end, companion]) => [companionName(name, end), companion])),
});
