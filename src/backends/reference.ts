/** Runs graphs in the float64 interpreter: slow and exact, for tests. */

import { BackendError } from "../base/errors.ts";
import { float16ToFloat32, float32ToFloat16 } from "../base/half.ts";
import type { DType } from "../tensor/dtype.ts";
import type { ReferenceArray } from "../tensor/graph.ts";
import { interpret } from "../tensor/interpret.ts";
import type { Backend, HostTensor } from "./backend.ts";

export const referenceBackend: Backend = {
  name: "reference",
  storable: ["float32", "float16"],
  computesFloat16: true,
  compile: async (graph, { name = "graph", constants = new Map() } = {}) => ({
    async run(inputs, outputs = {}) {
      const arrays = Object.fromEntries(
        [...Object.entries(inputs), ...constants].map(([input, tensor]) => [input, toReference(tensor as HostTensor)]),
      );
      const results = interpret(graph, arrays);
      return Object.fromEntries(
        [...graph.outputs].map(([output, { dtype }]) => {
          const result = fromReference(`${name}: output "${output}"`, dtype, results[output]!);
          const target = outputs[output];
          if (!target) return [output, result];
          if (target.dtype !== dtype || String(target.dims) !== String(result.dims)) {
            throw new BackendError(
              `${name}: output "${output}" was given memory for ${target.dtype}[${target.dims}]; expected ${dtype}[${result.dims}].`,
            );
          }
          target.data.set(result.data as never);
          return [output, target];
        }),
      );
    },
    dispose: async () => {},
  }),
};

const arrayOf: Partial<Record<DType, (data: Float64Array) => HostTensor["data"]>> = {
  float32: (data) => Float32Array.from(data),
  float16: (data) => float32ToFloat16(Float32Array.from(data)),
  int64: (data) => BigInt64Array.from(data, BigInt),
  int32: (data) => Int32Array.from(data),
  bool: (data) => Uint8Array.from(data),
};

function toReference({ dtype, dims, data }: HostTensor): ReferenceArray {
  if (!arrayOf[dtype]) throw new BackendError(`the reference backend does not read ${dtype}; cast to float32 first.`);
  const numbers = dtype === "float16" ? float16ToFloat32(data as Uint16Array) : (data as ArrayLike<number | bigint>);
  return { shape: dims, data: Float64Array.from(numbers, Number) };
}

function fromReference(what: string, dtype: DType, { shape, data }: ReferenceArray): HostTensor {
  const convert = arrayOf[dtype];
  if (!convert) throw new BackendError(`${what} is ${dtype}, which the reference backend does not write; cast to float32 first.`);
  return { dtype, dims: [...shape], data: convert(data as Float64Array) };
}
