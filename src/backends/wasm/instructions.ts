/** What primitive operations become on vectors of four float32. A bool is a mask: all bits of its lane, or none. */
import { f32, f32x4, v128 } from "./expressions.ts";
import type { Bytes } from "./module.ts";

type Expression = (...operands: Bytes[]) => number[];

const one = f32x4.splat(f32.constant(1));

const expressions: Readonly<Record<string, Expression>> = {
  add: f32x4.add,
  sub: f32x4.sub,
  mul: f32x4.mul,
  div: f32x4.div,
  maximum: f32x4.max,
  neg: f32x4.neg,
  sqrt: f32x4.sqrt,
  reciprocal: (a) => f32x4.div(one, a!),
  equal: f32x4.equal,
  less: f32x4.less,
  greaterOrEqual: f32x4.greaterOrEqual,
  logicalAnd: v128.and,
  logicalOr: v128.or,
  where: v128.choose,
  stopGradient: (a) => [...a!],
};

/** Pushes the result. @param operands instructions that push each; undefined where vectors have no such operation */
export function instructionsFor(op: string, operands: readonly Bytes[]): number[] | undefined {
  return Object.hasOwn(expressions, op) ? expressions[op]!(...operands) : undefined;
}

/** Of a mask: 1 or 0. */
export const maskToFloat32 = (mask: Bytes): number[] => v128.and(mask, one);
