/** Functions of one operand, element by element. */
import type { OpDefinition, Value } from "../graph.ts";
import { defineOp, only, referenceArray, requireFloat } from "./define.ts";
import { errorFunction } from "./error-function.ts";

function unary(name: string, evaluate: (x: number) => number): OpDefinition {
  return defineOp({
    name,
    infer([x]) {
      if (x!.dtype !== "float16") requireFloat(name, x!);
      return [{ dtype: x!.dtype, shape: x!.shape }];
    },
    reference: ([x]) => [referenceArray(x!.shape, x!.data.map(evaluate))],
  });
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

export const negOp = unary("neg", (x) => -x);
export const expOp = unary("exp", Math.exp);
export const logOp = unary("log", Math.log);
export const sqrtOp = unary("sqrt", Math.sqrt);
export const reciprocalOp = unary("reciprocal", (x) => 1 / x);
export const tanhOp = unary("tanh", Math.tanh);
export const sigmoidOp = unary("sigmoid", logistic);
export const erfOp = unary("erf", errorFunction);
export const reluOp = unary("relu", (x) => Math.max(x, 0));
/** x sigmoid(x); Elfwing et al. 2017, https://arxiv.org/abs/1702.03118. */
export const siluOp = unary("silu", (x) => x * logistic(x));
/** x Phi(x); Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415. */
export const geluOp = unary("gelu", (x) => 0.5 * x * (1 + errorFunction(x / Math.SQRT2)));
/** Their approximation by tanh, which GPT-2 uses. */
export const geluTanhOp = unary("geluTanh", (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))));
/** Identity that passes no gradient. */
export const stopGradientOp = defineOp({
  name: "stopGradient",
  infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  reference: ([x]) => [x!],
});

const apply =
  (op: OpDefinition) =>
  (x: Value): Value =>
    only(x.graph.add(op, [x]));

export const neg = apply(negOp);
export const exp = apply(expOp);
export const log = apply(logOp);
export const sqrt = apply(sqrtOp);
export const reciprocal = apply(reciprocalOp);
export const tanh = apply(tanhOp);
export const sigmoid = apply(sigmoidOp);
export const erf = apply(erfOp);
export const relu = apply(reluOp);
export const silu = apply(siluOp);
const geluExact = apply(geluOp);
const geluTanh = apply(geluTanhOp);
export const gelu = (x: Value, { approximate }: { approximate: "none" | "tanh" }): Value =>
  approximate === "tanh" ? geluTanh(x) : geluExact(x);
export const stopGradient = apply(stopGradientOp);
