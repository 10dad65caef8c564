/** RMS norm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467) and layer norm (Ba et al. 2016, https://arxiv.org/abs/1607.06450) over the last axis. */
import type { Value } from "../graph.ts";
import { multiplyDims, type Shape } from "../shape.ts";
import { count, defineOp, forEachRow, referenceArray, requireFloat } from "./define.ts";
import { mul, sub } from "./elementwise-binary.ts";
import { reduceSum } from "./reductions.ts";
import { reshape } from "./reshape.ts";

const rowShape = (shape: Shape): Shape => [...shape.slice(0, -1), 1];

/** Sum over all but the last axis, [C]. */
function overRows(x: Value): Value {
  const C = x.shape.at(-1)!;
  return reduceSum(reshape(x, [multiplyDims(...x.shape.slice(0, -1)), C]), [0]);
}
const rowMean = (x: Value): Value => mul(reduceSum(x, [-1], { keepDims: true }), 1 / Number(x.shape.at(-1)));

/** Outputs: y, and 1 / rms of every row, which the gradient reuses. */
export const rmsNormOp = defineOp({
  name: "rmsNorm",
  infer([x]) {
    requireFloat("rmsNorm", x!);
    return [
      { dtype: x!.dtype, shape: x!.shape },
      { dtype: x!.dtype, shape: rowShape(x!.shape) },
    ];
  },
  gradient({ inputs: [x, weight], outputs: [, inverse], outputGradients: [g] }) {
    const normalised = mul(x!, inverse!);
    const scaled = mul(g!, weight!);
    // dx = (g w - n mean(g w n)) / rms
    const dx = mul(sub(scaled, mul(normalised, rowMean(mul(scaled, normalised)))), inverse!);
    return [dx, overRows(mul(g!, normalised))];
  },
  reference([x, weight], { epsilon }, [shape, rows]) {
    const data = new Float64Array(count(shape!));
    const inverses = new Float64Array(count(rows!));
    forEachRow(x!.shape, (start, width) => {
      let square = 0;
      for (let i = 0; i < width; i++) square += x!.data[start + i]! ** 2;
      const inverse = 1 / Math.sqrt(square / width + (epsilon as number));
      inverses[start / width] = inverse;
      for (let i = 0; i < width; i++) data[start + i] = x!.data[start + i]! * inverse * weight!.data[i]!;
    });
    return [referenceArray(shape!, data), referenceArray(rows!, inverses)];
  },
});

/** Outputs: y, mean and inverse standard deviation of every row. */
export const layerNormOp = defineOp({
  name: "layerNorm",
  infer([x]) {
    requireFloat("layerNorm", x!);
    const rows = { dtype: x!.dtype, shape: rowShape(x!.shape) };
    return [{ dtype: x!.dtype, shape: x!.shape }, rows, rows];
  },
  gradient({ inputs: [x, weight], outputs: [, mean, inverse], outputGradients: [g] }) {
    const normalised = mul(sub(x!, mean!), inverse!);
    const scaled = mul(g!, weight!);
    const centred = sub(sub(scaled, rowMean(scaled)), mul(normalised, rowMean(mul(scaled, normalised))));
    return [mul(centred, inverse!), overRows(mul(g!, normalised)), overRows(g!)];
  },
  reference([x, weight, bias], { epsilon }, [shape, rows]) {
    const data = new Float64Array(count(shape!));
    const [means, inverses] = [new Float64Array(count(rows!)), new Float64Array(count(rows!))];
    forEachRow(x!.shape, (start, width) => {
      const row = x!.data.subarray(start, start + width);
      const mean = row.reduce((sum, value) => sum + value, 0) / width;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
      const inverse = 1 / Math.sqrt(variance + (epsilon as number));
      means[start / width] = mean;
      inverses[start / width] = inverse;
      for (let i = 0; i < width; i++) data[start + i] = (row[i]! - mean) * inverse * weight!.data[i]! + bias!.data[i]!;
    });
    return [referenceArray(shape!, data), referenceArray(rows!, means), referenceArray(rows!, inverses)];
  },
});

/** x / rms(x) * weight; weight [C]. */
export const rmsNorm = (x: Value, weight: Value, { epsilon }: { epsilon: number }): Value => x.graph.add(rmsNormOp, [x, weight], { epsilon })[0]!;

/** (x - mean) / std * weight + bias; weight, bias [C]. */
export const layerNorm = (x: Value, weight: Value, bias: Value, { epsilon }: { epsilon: number }): Value =>
  x.graph.add(layerNormOp, [x, weight, bias], { epsilon })[0]!;
