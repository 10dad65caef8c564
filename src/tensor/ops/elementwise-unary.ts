/** Functions of one operand, element by element. */
import type { OpDefinition, Value } from "../graph.ts";
import { constant } from "./constant.ts";
import { defineOp, only, referenceArray, requireFloat } from "./define.ts";
import { add, div, mul, sub } from "./elementwise-binary.ts";
import { greaterOrEqual } from "./comparison.ts";
import { where } from "./where.ts";
import { errorFunction } from "./error-function.ts";

interface Rule {
  evaluate(x: number): number;
  /** dL/dx from g = dL/dy, the operand x and the result y. */
  gradient(g: Value, x: Value, y: Value): Value;
}

function unary(name: string, { evaluate, gradient }: Rule): OpDefinition {
  return defineOp({
    name,
    infer([x]) {
      requireFloat(name, x!);
      return [{ dtype: x!.dtype, shape: x!.shape }];
    },
    gradient: ({ inputs: [x], outputs: [y], outputGradients: [g] }) => [gradient(g!, x!, y!)],
    reference: ([x]) => [referenceArray(x!.shape, x!.data.map(evaluate))],
  });
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

export const negOp = unary("neg", { evaluate: (x) => -x, gradient: (g) => neg(g) });
export const expOp = unary("exp", { evaluate: Math.exp, gradient: (g, _, y) => mul(g, y) });
export const logOp = unary("log", { evaluate: Math.log, gradient: (g, x) => div(g, x) });
export const sqrtOp = unary("sqrt", { evaluate: Math.sqrt, gradient: (g, _, y) => div(mul(g, 0.5), y) });
export const reciprocalOp = unary("reciprocal", { evaluate: (x) => 1 / x, gradient: (g, _, y) => neg(mul(g, mul(y, y))) });
export const tanhOp = unary("tanh", { evaluate: Math.tanh, gradient: (g, _, y) => mul(g, sub(constant(g.graph, 1), mul(y, y))) });
export const sigmoidOp = unary("sigmoid", { evaluate: logistic, gradient: (g, _, y) => mul(g, mul(y, sub(constant(g.graph, 1), y))) });
export const erfOp = unary("erf", { evaluate: errorFunction, gradient: (g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))) });
export const reluOp = unary("relu", { evaluate: (x) => Math.max(x, 0), gradient: (g, x) => where(greaterOrEqual(x, constant(g.graph, 0)), g, constant(g.graph, 0)) });
/** x sigmoid(x); Elfwing et al. 2017, https://arxiv.org/abs/1702.03118. y' = s + y (1 - s). */
export const siluOp = unary("silu", {
  evaluate: (x) => x * logistic(x),
  gradient(g, x, y) {
    const s = sigmoid(x);
    return mul(g, add(s, mul(y, sub(constant(g.graph, 1), s))));
  },
});
/** x Phi(x); Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415. */
export const geluOp = unary("gelu", {
  evaluate: (x) => 0.5 * x * (1 + errorFunction(x / Math.SQRT2)),
  gradient(g, x) {
    const cumulative = add(mul(erf(mul(x, Math.SQRT1_2)), 0.5), 0.5);
    const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return mul(g, add(cumulative, mul(x, density)));
  },
});
const [tanhScale, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
export const geluTanhOp = unary("geluTanh", {
  evaluate: (x) => 0.5 * x * (1 + Math.tanh(tanhScale * (x + cubic * x ** 3))),
  gradient(g, x) {
    const square = mul(x, x);
    const t = tanh(mul(x, add(mul(square, tanhScale * cubic), tanhScale)));
    const slope = add(mul(square, 3 * tanhScale * cubic), tanhScale); // d(inner)/dx
    const curve = mul(mul(x, sub(constant(g.graph, 1), mul(t, t))), slope);
    return mul(g, mul(add(add(t, 1), curve), 0.5));
  },
});
/** Identity that passes no gradient. */
export const stopGradientOp = defineOp({
  name: "stopGradient",
  infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  gradient: () => [undefined],
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
export const gelu = (x: Value, { approximate }: { approximate: "none" | "tanh" }): Value => (approximate === "tanh" ? geluTanh(x) : geluExact(x));
export const stopGradient = apply(stopGradientOp);
