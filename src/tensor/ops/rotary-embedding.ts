/**
 * Rotary position embedding, rotate-half convention as in Hugging Face checkpoints: channel j turns with channel j + half, where
 * 2 * half is the size of a head D, or less: then only the first 2 * half channels of a head turn.
 * Su et al. 2021, https://arxiv.org/abs/2104.09864.
 */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { shapesEqual, showShape } from "../shape.ts";
import { defineOp, only, referenceArray } from "./define.ts";

export const rotaryEmbeddingOp = defineOp({
  name: "rotaryEmbedding",
  infer([x, positions, cos, sin], { numHeads }) {
    const headDim = Number(x!.shape[2]) / (numHeads as number);
    const half = Number(cos!.shape[1]);
    if (x!.shape.length !== 3 || !Number.isInteger(headDim) || !(2 * half <= headDim) || Number(sin!.shape[1]) !== half) {
      throw new ShapeError(
        `rotaryEmbedding: expected x [B, T, ${numHeads} * D] with D at least 2 * half for tables [P, half], got ${showShape(x!.shape)} and ${showShape(cos!.shape)}. Check head_dim and num_attention_heads.`,
      );
    }
    const rows = x!.shape.slice(0, 2);
    if (positions!.dtype !== "int64" || !shapesEqual(positions!.shape, rows)) {
      throw new ShapeError(
        `rotaryEmbedding: expected positionIds int64${showShape(rows)}, got ${positions!.dtype}${showShape(positions!.shape)}.`,
      );
    }
    return [{ dtype: x!.dtype, shape: x!.shape }];
  },
  reference([x, positions, cos, sin], { numHeads }, [shape]) {
    const half = cos!.shape[1]!;
    const headDim = shape![2]! / (numHeads as number);
    const data = Float64Array.from(x!.data);
    for (let row = 0; row < positions!.data.length; row++) {
      const table = positions!.data[row]! * half;
      for (let head = 0; head < (numHeads as number); head++) {
        const start = (row * (numHeads as number) + head) * headDim;
        for (let j = 0; j < half; j++) {
          const [a, b] = [x!.data[start + j]!, x!.data[start + j + half]!];
          const [c, s] = [cos!.data[table + j]!, sin!.data[table + j]!];
          data[start + j] = a * c - b * s;
          data[start + j + half] = b * c + a * s;
        }
      }
    }
    return [referenceArray(shape!, data)];
  },
});

/** @param x [B, T, numHeads * D] @param positionIds int64 [B, T] @param cos, sin tables [P, half] with 2 * half up to D */
export const rotaryEmbedding = (x: Value, positionIds: Value, cos: Value, sin: Value, { numHeads }: { numHeads: number }): Value =>
  only(x.graph.add(rotaryEmbeddingOp, [x, positionIds, cos, sin], { numHeads }));
