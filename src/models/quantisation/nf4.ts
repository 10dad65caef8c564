/**
 * QLoRA's 4-bit NormalFloat: sixteen quantiles of a normal distribution, one scale for each block of weights, and the
 * scales quantised in turn (double quantisation). Dettmers et al. 2023, https://arxiv.org/abs/2305.14314.
 * Codes and scales are those of bitsandbytes; the mean of the scales is summed in float64 and may differ in its last digit.
 */
import { z } from "zod";
import type { TensorType, Value } from "../../tensor/graph.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { nf4Table } from "../../tensor/ops/dequantize-nf4.ts";
import { add, cast, dequantizeNf4, gather, mul, reshape, transpose } from "../../tensor/ops/index.ts";
import type { StoredTensors } from "../storage.ts";
import { quantiseBlockwise } from "./blockwise.ts";
import { createDynamicMap } from "./dynamic-map.ts";
import { defineFormat, embeddings, outIn, turned } from "./format.ts";

const configSchema = z.strictObject({
  format: z.literal("nf4"),
  doubleQuantization: z.boolean().default(true).describe("Quantise the scales too: 4.13 bits a weight instead of 4.5."),
  blockSize: z.literal([32, 64, 128, 256]).default(64).describe("Weights that share one scale; smaller is closer to the original."),
  embeddings,
});

/** Scales that share one scale of their own. */
const groupSize = 256;
const dynamicMap = createDynamicMap();

export const nf4 = defineFormat({
  name: "nf4",
  bits: 4,
  summary: "4-bit NormalFloat: an eighth of the memory of float32 weights.",
  paper: "https://arxiv.org/abs/2305.14314",
  configSchema,

  storage({ doubleQuantization, blockSize }: Omit<z.output<typeof configSchema>, "embeddings">, layout) {
    const sizesOf = (shape: readonly number[]) => {
      const blocks = Math.ceil((shape[0]! * shape[1]!) / blockSize);
      return { blocks, groups: Math.ceil(blocks / groupSize) };
    };
    return {
      isQuantised: true,

      types(shape) {
        const { blocks, groups } = sizesOf(shape);
        const tensor: TensorType = { dtype: "uint8", shape: [(blocks * blockSize) / 2] };
        if (!doubleQuantization) return { tensor, companions: { absmax: { dtype: "float32", shape: [blocks] } } };
        return {
          tensor,
          companions: {
            absmax: { dtype: "uint8", shape: [groups * groupSize] },
            nested_absmax: { dtype: "float32", shape: [groups, 1] },
            nested_offset: { dtype: "float32", shape: [] },
            nested_quant_map: { dtype: "float32", shape: [dynamicMap.length] },
          },
        };
      },

      decode({ tensor, companions }, shape) {
        const { groups } = sizesOf(shape);
        const absmax = doubleQuantization ? decodeScales(companions!, groups) : companions!.absmax!;
        const weight = dequantizeNf4(tensor, absmax, { shape: outIn(shape, layout), blockSize });
        return layout === "out-in" ? weight : transpose(weight, [1, 0]);
      },

      quantise(weight, shape) {
        const { blocks } = sizesOf(shape);
        const matrix = layout === "out-in" ? weight : turned(weight, shape[1]!);
        const { codes, absmax } = quantiseBlockwise(matrix, { table: nf4Table, blockSize });
        const packed = new Uint8Array((blocks * blockSize) / 2);
        for (let i = 0; i < codes.length; i++) packed[i >> 1]! |= i % 2 === 0 ? codes[i]! << 4 : codes[i]!;
        const companions = doubleQuantization ? quantiseScales(absmax) : { absmax: floats(absmax, [blocks]) };
        return { tensor: { dtype: "uint8", dims: [packed.length], data: packed }, companions };
      },

      read({ tensor, companions }, shape) {
        const codes = tensor.data as Uint8Array;
        const absmax = doubleQuantization ? readScales(companions!) : (companions!.absmax!.data as Float32Array);
        const matrix = new Float32Array(shape[0]! * shape[1]!);
        for (let i = 0; i < matrix.length; i++) {
          const byte = codes[i >> 1]!;
          matrix[i] = nf4Table[i % 2 === 0 ? byte >> 4 : byte & 15]! * absmax[Math.floor(i / blockSize)]!;
        }
        return layout === "out-in" ? matrix : turned(matrix, shape[0]!);
      },
    };
  },
});

const floats = (data: Float32Array, dims: readonly number[]): HostTensor => ({ dtype: "float32", dims, data });

/** Graph: scales [groups * 256] out of their codes. */
function decodeScales({ absmax, nested_absmax, nested_offset, nested_quant_map }: Readonly<Record<string, Value>>, groups: number): Value {
  const numbers = reshape(gather(nested_quant_map!, cast(absmax!, "int64")), [groups, groupSize]);
  return reshape(add(mul(numbers, nested_absmax!), nested_offset!), [groups * groupSize]);
}

function quantiseScales(absmax: Float32Array): NonNullable<StoredTensors<HostTensor>["companions"]> {
  const offset = Math.fround(absmax.reduce((sum, value) => sum + value, 0) / absmax.length);
  const centred = absmax.map((value) => value - offset);
  const nested = quantiseBlockwise(centred, { table: dynamicMap, blockSize: groupSize });
  const codes = new Uint8Array(nested.absmax.length * groupSize);
  codes.set(nested.codes);
  return {
    absmax: { dtype: "uint8", dims: [codes.length], data: codes },
    nested_absmax: floats(nested.absmax, [nested.absmax.length, 1]),
    nested_offset: floats(Float32Array.of(offset), []),
    nested_quant_map: floats(dynamicMap, [dynamicMap.length]),
  };
}

function readScales({ absmax, nested_absmax, nested_offset }: Readonly<Record<string, HostTensor>>): Float32Array {
  const [codes, scales, [offset]] = [absmax!.data as Uint8Array, nested_absmax!.data, nested_offset!.data];
  return Float32Array.from(
    codes,
    (code, i) => Math.fround(dynamicMap[code]! * (scales[Math.floor(i / groupSize)] as number)) + (offset as number),
  );
}
