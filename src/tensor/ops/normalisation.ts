/** RMS norm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467) and layer norm (Ba et al. 2016, https://arxiv.org/abs/1607.06450) over the last axis. */
import { ShapeError } from "../../base/errors.ts";
import type { TensorType, Value } from "../graph.ts";
import { type Shape, shapesEqual, showShape } from "../shape.ts";
import { count, defineOp, forEachRow, referenceArray, requireFloat, requireRows } from "./define.ts";

const rowShape = (shape: Shape): Shape => [...shape.slice(0, -1), 1];

function requirePerChannel(op: string, x: TensorType, operands: Readonly<Record<string, TensorType>>): void {
  const channels = x.shape.slice(-1);
  for (const [name, { shape }] of Object.entries(operands)) {
    if (shapesEqual(shape, channels)) continue;
    throw new ShapeError(
      `${op}: expected ${name} ${showShape(channels)} for rows of ${showShape(x.shape)}, got ${showShape(shape)}. Check hidden_size in config.json.`,
    );
  }
}

/** Outputs: y, and 1 / rms of every row, which the gradient reuses. */
export const rmsNormOp = defineOp({
  name: "rmsNorm",
  infer([x, weight]) {
    requireFloat("rmsNorm", x!);
    requireRows("rmsNorm", x!);
    requirePerChannel("rmsNorm", x!, { weight: weight! });
    return [
      { dtype: x!.dtype, shape: x!.shape },
      { dtype: x!.dtype, shape: rowShape(x!.shape) },
    ];
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
  infer([x, weight, bias]) {
    requireFloat("layerNorm", x!);
    requireRows("layerNorm", x!);
    requirePerChannel("layerNorm", x!, { weight: weight!, bias: bias! });
    const rows = { dtype: x!.dtype, shape: rowShape(x!.shape) };
    return [{ dtype: x!.dtype, shape: x!.shape }, rows, rows];
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
export const rmsNorm = (x: Value, weight: Value, { epsilon }: { epsilon: number }): Value =>
  x.graph.add(rmsNormOp, [x, weight], { epsilon })[0]!;

/** (x - mean) / std * weight + bias; weight, bias [C]. */
export const layerNorm = (x: Value, weight: Value, bias: Value, { epsilon }: { epsilon: number }): Value =>
  x.graph.add(layerNormOp, [x, weight, bias], { epsilon })[0]!;
