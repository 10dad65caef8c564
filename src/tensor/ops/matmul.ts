/** Matrix product over the last two dimensions, batch dimensions broadcast; transposes and a scale come free with the kernels. */
import { ShapeError } from "../../base/errors.ts";
import type { Value } from "../graph.ts";
import { broadcastShapes, dimsEqual, type Shape, showShape } from "../shape.ts";
import { count, defineOp, forEachBroadcast, only, referenceArray, requireSameDtype } from "./define.ts";

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly alpha?: number;
}

export const matmulOp = defineOp({
  name: "matmul",
  infer([a, b], attributes) {
    const { transposeA, transposeB } = attributes as Required<MatmulOptions>;
    requireSameDtype("matmul", a!, b!);
    if (a!.shape.length < 2 || b!.shape.length < 2)
      throw new ShapeError(`matmul: expected rank 2 or more, got left ${showShape(a!.shape)}, right ${showShape(b!.shape)}.`);
    const [rows, inner] = matrixDims(a!.shape, transposeA);
    const [innerB, columns] = matrixDims(b!.shape, transposeB);
    if (!dimsEqual(inner, innerB)) {
      throw new ShapeError(
        `matmul: inner dimensions differ: left ${showShape(a!.shape)}, right ${showShape(b!.shape)} (${inner} vs ${innerB}). Transpose one operand or check the sizes in config.json.`,
      );
    }
    return [{ dtype: a!.dtype, shape: [...broadcastShapes(a!.shape.slice(0, -2), b!.shape.slice(0, -2)), rows, columns] }];
  },
  reference([a, b], attributes, [shape]) {
    const { transposeA, transposeB, alpha } = attributes as unknown as Required<MatmulOptions>;
    const [M, N] = shape!.slice(-2) as [number, number];
    const K = a!.shape.at(transposeA ? -2 : -1)!;
    const [strideAm, strideAk] = transposeA ? [1, M] : [K, 1];
    const [strideBk, strideBn] = transposeB ? [1, K] : [N, 1];
    const data = new Float64Array(count(shape!));
    forEachBroadcast(shape!.slice(0, -2), [a!.shape.slice(0, -2), b!.shape.slice(0, -2)], (batch, [i, j]) => {
      for (let m = 0; m < M; m++) {
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let k = 0; k < K; k++)
            sum += a!.data[i! * M * K + m * strideAm + k * strideAk]! * b!.data[j! * K * N + k * strideBk + n * strideBn]!;
          data[(batch * M + m) * N + n] = alpha * sum;
        }
      }
    });
    return [referenceArray(shape!, data)];
  },
});

export const matmul = (a: Value, b: Value, { transposeA = false, transposeB = false, alpha = 1 }: MatmulOptions = {}): Value =>
  only(a.graph.add(matmulOp, [a, b], { transposeA, transposeB, alpha }));

const matrixDims = (shape: Shape, transposed: boolean) =>
  (transposed ? [shape.at(-1)!, shape.at(-2)!] : [shape.at(-2)!, shape.at(-1)!]) as [Shape[0], Shape[0]];
