/**
 * Compares a gradient with central differences in dot-product form, in float64: <J v, g> = <v, J^T g> for random v and g.
 * One comparison covers every element of every operand at the cost of two evaluations.
 */
import { expect } from "vitest";
import { createRandom, type Random } from "../../src/base/random.ts";
import { gradients } from "../../src/tensor/autodiff.ts";
import { Graph, type ReferenceArray, type Value } from "../../src/tensor/graph.ts";
import { interpret } from "../../src/tensor/interpret.ts";
import { type DimBindings, evaluateShape, type Shape } from "../../src/tensor/shape.ts";

type Arrays = Readonly<Record<string, ReferenceArray>>;

export interface OperandOptions {
  readonly low?: number;
  readonly high?: number;
  /** Distance from zero that every element keeps, where the function has a kink there. */
  readonly awayFromZero?: number;
}

/** A graph under test with random operands. */
export class GradientCase {
  readonly graph = new Graph();
  readonly arrays: Record<string, ReferenceArray> = {};
  readonly operands = new Map<string, Value>();
  readonly random: Random;
  readonly #bindings: DimBindings;

  constructor(seed: number, bindings: DimBindings = {}) {
    this.random = createRandom(seed);
    this.#bindings = bindings;
  }

  /** Floats that the check differentiates by. */
  operand(shape: Shape, { low = -2, high = 2, awayFromZero = 0 }: OperandOptions = {}): Value {
    const name = `x${this.graph.inputs.size}`;
    const value = this.#input(name, { shape, dtype: "float32" }, () => {
      const x = low + this.random.next() * (high - low);
      return x + Math.sign(x) * awayFromZero;
    });
    this.operands.set(name, value);
    return value;
  }

  /** Floats that no gradient is asked for. */
  fixed(shape: Shape): Value {
    return this.#input(`f${this.graph.inputs.size}`, { shape, dtype: "float32" }, () => this.random.normal());
  }

  /** Integers in 0..below-1, not differentiated. */
  indices(shape: Shape, below: number): Value {
    return this.#input(`i${this.graph.inputs.size}`, { shape, dtype: "int64" }, () => this.random.integer(below));
  }

  condition(shape: Shape): Value {
    return this.#input(`c${this.graph.inputs.size}`, { shape, dtype: "bool" }, () => this.random.integer(2));
  }

  #input(name: string, type: { shape: Shape; dtype: "float32" | "int64" | "bool" }, draw: () => number): Value {
    const shape = evaluateShape(type.shape, this.#bindings);
    this.arrays[name] = randomArray(shape, draw);
    return this.graph.input(name, type);
  }
}

/** Relative error of a computed result. A central difference divides it by the step, which shows where a function is flat but not zero. */
const rounding = 1e-14;

export interface CheckOptions {
  /** Allowed difference, relative to the sum of the magnitudes that enter the dot product. */
  readonly tolerance?: number;
  readonly step?: number;
}

/** Declares `results` as outputs of the case's graph and checks the gradient of every operand. */
export function checkGradient(c: GradientCase, results: readonly Value[], { tolerance = 1e-7, step = 1e-5 }: CheckOptions = {}): void {
  const { graph, arrays, random } = c;
  for (const [i, value] of results.entries()) graph.output(`y${i}`, value);
  const values = interpret(graph, arrays);
  const cotangents = results.map((_, i) => randomArray(values[`y${i}`]!.shape, () => random.normal()));
  const tangents = new Map([...c.operands.keys()].map((name) => [name, randomArray(arrays[name]!.shape, () => random.normal())]));

  const move = (distance: number): Arrays => {
    const moved = [...tangents].map(([name, { shape, data }]) => {
      return [name, { shape, data: data.map((v, i) => arrays[name]!.data[i]! + distance * v) }] as const;
    });
    return interpret(graph, { ...arrays, ...Object.fromEntries(moved) });
  };
  const [ahead, behind] = [move(step), move(-step)];
  let [measured, scale, noise] = [0, 1e-2, 0];
  for (const [i, { data }] of cotangents.entries()) {
    for (const [j, g] of data.entries()) {
      const term = (g * (ahead[`y${i}`]!.data[j]! - behind[`y${i}`]!.data[j]!)) / (2 * step);
      measured += term;
      scale += Math.abs(term);
      noise += (rounding * Math.abs(g * values[`y${i}`]!.data[j]!)) / step;
    }
  }

  const found = derive(c, results, cotangents);
  let derived = 0;
  for (const [name, { shape, data }] of tangents) {
    const gradient = found[name];
    if (!gradient) continue;
    expect([...gradient.shape], `shape of the gradient of ${name}`).toEqual([...shape]);
    for (const [j, v] of data.entries()) {
      derived += v * gradient.data[j]!;
      scale += Math.abs(v * gradient.data[j]!);
    }
  }
  expect(Math.abs(derived - measured), `derived ${derived}, measured ${measured}`).toBeLessThan(tolerance * scale + noise);
}

/** J^T g of every operand that the results depend on. */
function derive({ graph, arrays, operands }: GradientCase, results: readonly Value[], cotangents: readonly ReferenceArray[]) {
  const outputs = results.map((value, i) => ({ value, gradient: graph.input(`g${i}`, value) }));
  const found = gradients({ graph, outputs, wrt: [...operands.values()] });
  for (const [i, name] of [...operands.keys()].entries()) if (found[i]) graph.output(name, found[i]);
  return interpret(graph, { ...arrays, ...Object.fromEntries(cotangents.map((array, i) => [`g${i}`, array])) });
}

function randomArray(shape: readonly number[], draw: () => number): ReferenceArray {
  return { shape, data: Float64Array.from({ length: shape.reduce((product, n) => product * n, 1) }, draw) };
}
