/**
 * LLM.int8(): every row of a weight scaled to -127..127. Dettmers et al. 2022, https://arxiv.org/abs/2208.07339.
 * Codes and scales are those of bitsandbytes, which rounds weights to float16 first. Differs: with `compute: float32` activations are
 * not rounded, so no outlier columns have to be taken out; with `compute: int8` they are, and so are gradients, as SwitchBack does
 * (Wortsman et al. 2023, https://arxiv.org/abs/2304.13013), and outlier columns are rounded with the others.
 */
import { z } from "zod";
import { float16ToFloat32, float32ToFloat16 } from "../../base/half.ts";
import { roundHalfToEven } from "../../base/round-half-to-even.ts";
import type { Value } from "../../tensor/graph.ts";
import {
  add,
  cast,
  concat,
  gather,
  matmulInt8,
  mul,
  projectedLogSumExp,
  reshape,
  roundRows,
  split,
  sub,
  transpose,
} from "../../tensor/ops/index.ts";
import type { ParameterStorage } from "../storage.ts";
import { largestMagnitude } from "./blockwise.ts";
import { defineFormat, embeddings, outIn, turned } from "./format.ts";

const largest = 127;

const configSchema = z.strictObject({
  format: z.literal("int8"),
  // Not filled in where absent, so that runs of before it existed can be resumed.
  compute: z
    .enum(["float32", "int8"])
    .optional()
    .describe(
      "float32, as where it is absent, decodes the weights for each product (writing a text takes rows of 16 bits and the codes as they are, where the processor can). int8 multiplies integers, which is two to three times as fast on the CPU: what a layer reads, and the gradient of what it gives, are rounded to 8 bits row by row.",
    ),
  embeddings,
});

export interface Int8Config {
  readonly format: "int8";
  readonly compute?: "float32" | "int8" | undefined;
}

/** What one code of each row stands for, [out]. */
const steps = (scales: Value): Value => mul(reshape(scales, [scales.shape[0]!]), 1 / largest);

const multiply: NonNullable<ParameterStorage["product"]> = (x, { tensor, companions }) =>
  matmulInt8(x, tensor, { transposeB: true, scales: steps(companions!.SCB!) });

/** Rows in 16 bits: once as rounded to 8, and once what rounding left of them. Both go through the codes together. */
const multiplyInTwo: NonNullable<ParameterStorage["nearProduct"]> = (x, stored) => {
  const rounded = roundRows(x);
  const rows = x.shape[0]!;
  const [coarse, fine] = split(multiply(concat([rounded, sub(x, rounded)], 0), stored), 0, [rows, rows]);
  return add(coarse!, fine!);
};

export const int8 = defineFormat({
  name: "int8",
  bits: 8,
  summary: "8-bit integers with one scale for each output: a quarter of the memory of float32 weights, nearly their precision.",
  paper: "https://arxiv.org/abs/2208.07339",
  configSchema,

  storage: ({ compute }: Int8Config, layout) => ({
    isQuantised: true,

    types(shape) {
      const [out, inner] = outIn(shape, layout);
      return { tensor: { dtype: "int8", shape: [out, inner] }, companions: { SCB: { dtype: "float32", shape: [out, 1] } } };
    },

    decode({ tensor, companions }) {
      const weight = mul(cast(tensor, "float32"), mul(companions!.SCB!, 1 / largest));
      return layout === "out-in" ? weight : transpose(weight, [1, 0]);
    },

    holdsRows: layout === "out-in",

    rows: ({ tensor, companions }, indices) =>
      mul(cast(gather(tensor, indices), "float32"), mul(gather(companions!.SCB!, indices), 1 / largest)),

    ...(compute === "int8"
      ? {
          product: multiply,
          vocabulary: {
            asRead: roundRows,
            sums: (x, { tensor, companions }, options) => projectedLogSumExp(x, tensor, { ...options, scales: steps(companions!.SCB!) }),
          },
        }
      : { nearProduct: multiplyInTwo }),

    quantise(weight, shape) {
      const [out, inner] = outIn(shape, layout);
      const matrix = float16ToFloat32(float32ToFloat16(layout === "out-in" ? weight : turned(weight, shape[1]!)));
      const codes = new Int8Array(matrix.length);
      const scales = new Float32Array(out);
      for (let row = 0; row < out; row++) {
        const values = matrix.subarray(row * inner, (row + 1) * inner);
        const absmax = largestMagnitude(values);
        scales[row] = absmax;
        const factor = absmax === 0 ? 0 : Math.fround(largest * Math.fround(1 / absmax));
        for (let i = 0; i < inner; i++) codes[row * inner + i] = roundHalfToEven(Math.fround(values[i]! * factor));
      }
      return {
        tensor: { dtype: "int8", dims: [out, inner], data: codes },
        companions: { SCB: { dtype: "float32", dims: [out, 1], data: scales } },
      };
    },

    read({ tensor, companions }, shape) {
      const [, inner] = outIn(shape, layout);
      const scales = companions!.SCB!.data as Float32Array;
      const step = Math.fround(1 / largest);
      const matrix = Float32Array.from(tensor.data as Int8Array, (code, i) => code * Math.fround(scales[Math.floor(i / inner)]! * step));
      return layout === "out-in" ? matrix : turned(matrix, shape[0]!);
    },
  }),
});
