/**
 * Gradients of parameters on their way out of a graph. Of a table whose rows were looked up, only those rows come out, and are
 * added into the accumulator here: a gradient of the table's size would be nearly all zeros.
 */
import type { HostTensor, Tensor } from "../backends/backend.ts";
import { giveBack } from "../backends/give-back.ts";
import type { Value } from "../tensor/graph.ts";
import { add } from "../tensor/ops/index.ts";
import type { ParameterStore } from "./weights/parameter-store.ts";

const [dense, rows, rowsAt] = ["gradient.", "gradientRows.", "gradientRowsAt."];

/** Graph outputs for the gradient of one parameter, by its local name: its dense part, and row gradients with their indices. */
export function gradientOutputs(local: string, gradient: Value): [string, Value][] {
  const terms = summandsOf(gradient);
  const looked = terms.filter(isOfRows);
  const others = terms.filter((term) => !isOfRows(term));
  const whole =
    others.length === terms.length ? gradient : others.reduce<Value | undefined>((sum, term) => (sum ? add(sum, term) : term), undefined);
  return [
    ...(whole ? [[`${dense}${local}`, whole] as [string, Value]] : []),
    ...looked.flatMap(({ producer }, i): [string, Value][] => [
      [`${rowsAt}${i}.${local}`, producer!.inputs[0]!],
      [`${rows}${i}.${local}`, producer!.inputs[1]!],
    ]),
  ];
}

const isOfRows = ({ producer }: Value): boolean => producer?.op.name === "scatterAddRows";

const summandsOf = (value: Value): Value[] => {
  const { producer } = value;
  const isSum = producer?.op.name === "add" && producer.inputs.every(({ shape }) => shape.length === value.shape.length);
  return isSum && producer.inputs.some((term) => summandsOf(term).some(isOfRows)) ? producer.inputs.flatMap(summandsOf) : [value];
};

/** The local name of the parameter whose dense gradient an output holds. */
export const denseGradientOf = (output: string): string | undefined => (output.startsWith(dense) ? output.slice(dense.length) : undefined);

/** Where the gradients of a pass go. What is held counts only once something was added in the step under way. */
export interface GradientSink {
  /** What a graph writes the parameter's dense gradient into: an accumulator that is empty; undefined where the result is handed over. */
  target(parameter: string): HostTensor | undefined;
  /** Everything that a graph gave, which is used up. @param parameterOf the checkpoint's name of a local one */
  addAll(results: Readonly<Record<string, Tensor>>, parameterOf: (local: string) => string): Promise<void>;
  /** Accumulators that nothing was added to become zeros. */
  finish(): Promise<void>;
  discard(): void;
  /** Global L2 norm. */
  norm(): Promise<number>;
}

/** The gradients among a graph's results: dense ones, and rows with their indices. */
export function gradientsIn<Of>(results: Readonly<Record<string, Of>>): {
  dense: [string, Of][];
  rows: [string, { indices: Of; updates: Of }][];
} {
  const dense = Object.entries(results).flatMap(([output, tensor]): [string, Of][] => {
    const local = denseGradientOf(output);
    return local === undefined ? [] : [[local, tensor]];
  });
  const looked = Object.entries(results).flatMap(([output, indices]): [string, { indices: Of; updates: Of }][] => {
    if (!output.startsWith(rowsAt)) return [];
    const name = output.slice(rowsAt.length);
    return [[name.slice(name.indexOf(".") + 1), { indices, updates: results[`${rows}${name}`]! }]];
  });
  return { dense, rows: looked };
}

/** In the host's memory: straight into the vectors of the store. */
export class GradientAccumulators implements GradientSink {
  readonly #store: Pick<ParameterStore, "parameters" | "groups">;
  readonly #begun = new Set<string>();

  constructor(store: Pick<ParameterStore, "parameters" | "groups">) {
    this.#store = store;
  }

  target(parameter: string): HostTensor | undefined {
    if (this.#begun.has(parameter)) return undefined;
    const { gradient, spec } = this.#store.parameters.get(parameter)!;
    return { dtype: "float32", dims: spec.shape, data: gradient! };
  }

  async addAll(results: Readonly<Record<string, Tensor>>, parameterOf: (local: string) => string): Promise<void> {
    const { dense, rows } = gradientsIn(results as Readonly<Record<string, HostTensor>>);
    // Dense parts first: they may be written over what an accumulator held.
    for (const [local, tensor] of dense) this.#add(parameterOf(local), tensor);
    for (const [local, looked] of rows) this.#addRows(parameterOf(local), looked);
  }

  async finish(): Promise<void> {
    for (const [name, { gradient }] of this.#store.parameters) {
      if (!gradient || this.#begun.has(name)) continue;
      gradient.fill(0);
      this.#begun.add(name);
    }
  }

  discard(): void {
    this.#begun.clear();
  }

  async norm(): Promise<number> {
    return Math.sqrt(this.#store.groups.reduce((sum, { gradients }) => sum + sumOfSquares(gradients), 0));
  }

  #add(parameter: string, { data }: HostTensor): void {
    const accumulator = this.#store.parameters.get(parameter)!.gradient!;
    const values = data as Float32Array;
    if (values !== accumulator) {
      if (this.#begun.has(parameter)) for (let i = 0; i < values.length; i++) accumulator[i]! += values[i]!;
      else accumulator.set(values);
      giveBack(values);
    }
    this.#begun.add(parameter);
  }

  #addRows(parameter: string, { indices, updates }: { indices: HostTensor; updates: HostTensor }): void {
    const { gradient, spec } = this.#store.parameters.get(parameter)!;
    const accumulator = gradient!;
    if (!this.#begun.has(parameter)) accumulator.fill(0);
    this.#begun.add(parameter);
    const width = spec.shape.slice(1).reduce((product, n) => product * n, 1);
    const [at, values] = [indices.data as BigInt64Array, updates.data as Float32Array];
    for (let row = 0; row < at.length; row++) {
      const start = Number(at[row]!) * width;
      for (let i = 0; i < width; i++) accumulator[start + i]! += values[row * width + i]!;
    }
  }
}

/** Four sums side by side: one alone would wait for each addition before the next. */
function sumOfSquares(values: Float32Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += values[i]! * values[i]!;
    b += values[i + 1]! * values[i + 1]!;
    c += values[i + 2]! * values[i + 2]!;
    d += values[i + 3]! * values[i + 3]!;
  }
  for (let i = whole; i < values.length; i++) a += values[i]! * values[i]!;
  return a + b + c + d;
}
