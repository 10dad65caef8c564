/** A small graph around one operation, with random inputs in the two forms that a backend and the interpreter take. */
import type { HostTensor } from "../../src/backends/backend.ts";
import { createRandom, type Random } from "../../src/base/random.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { Graph, type ReferenceArray, type Value } from "../../src/tensor/graph.ts";
import { type DimBindings, evaluateShape, type Shape } from "../../src/tensor/shape.ts";

/** The range of random inputs. Halves are multiples of 1/8, exact in float16 and bfloat16; integers lie in low..high-1. */
export interface InputOptions {
  readonly dtype?: DType;
  readonly low?: number;
  readonly high?: number;
  /** These numbers instead of random ones. */
  readonly values?: readonly number[];
}

export class OpCase {
  readonly graph = new Graph();
  readonly tensors: Record<string, HostTensor> = {};
  readonly arrays: Record<string, ReferenceArray> = {};
  readonly #sizes: DimBindings;
  readonly #random: Random;

  constructor(sizes: DimBindings, seed = 1) {
    this.#sizes = sizes;
    this.#random = createRandom(seed);
  }

  input(shape: Shape, { dtype = "float32", low = -2, high = 2, values }: InputOptions = {}): Value {
    const name = `x${this.graph.inputs.size}`;
    const dims = evaluateShape(shape, this.#sizes);
    const length = dims.reduce((product, n) => product * n, 1);
    const draw = (): number => {
      const x = low + this.#random.next() * (high - low);
      if (dtype === "float32") return Math.fround(x);
      return dtype === "float16" || dtype === "bfloat16" ? Math.round(x * 8) / 8 : Math.floor(x);
    };
    const data = Float64Array.from(values ?? Array.from({ length }, draw));
    this.arrays[name] = { shape: dims, data };
    this.tensors[name] = { dtype, dims, data: hostData(dtype, data) };
    return this.graph.input(name, { dtype, shape });
  }
}

export function hostData(dtype: DType, data: Float64Array): HostTensor["data"] {
  if (dtype === "int64") return BigInt64Array.from(data, BigInt);
  if (dtype === "int32") return Int32Array.from(data);
  if (dtype === "bool" || dtype === "uint8") return Uint8Array.from(data);
  if (dtype === "int8") return Int8Array.from(data);
  const floats = Float32Array.from(data);
  if (dtype === "float32") return floats;
  const bits = new Uint32Array(floats.buffer);
  return Uint16Array.from(bits, (word) => (dtype === "bfloat16" ? word >>> 16 : float16Bits(word)));
}

/** For numbers that float16 holds exactly and that are not subnormal. */
function float16Bits(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  return (word & 0x7fffffff) === 0 ? sign : sign | ((((word >>> 23) & 0xff) - 112) << 10) | ((word >>> 13) & 0x3ff);
}
