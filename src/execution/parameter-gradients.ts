/**
 * Gradients of parameters on their way out of a graph. Of a table whose rows were looked up, only those rows come out, and are
 * added into the accumulator here: a gradient of the table's size would be nearly all zeros.
 */
import type { HostTensor, Tensor } from "../backends/backend.ts";
import { giveBack } from "../backends/give-back.ts";
import { sumOfSquares } from "../backends/wasm/sum-of-squares.ts";
import type { Value } from "../tensor/graph.ts";
import { count } from "../tensor/ops/define.ts";
import { add, concat } from "../tensor/ops/index.ts";
import type { ParameterStore } from "./weights/parameter-store.ts";

const [dense, rows, rowsAt] = ["gradient.", "gradientRows.", "gradientRowsAt."];

/**
 * Graph outputs for the gradient of one parameter, by its local name: its dense part, and row gradients with their indices.
 * @param pieces gradients of pieces of a table by their own local names, in order; they come out as they are unless the table has a dense part
 */
export function gradientOutputs(local: string, gradient: Value | undefined, pieces: readonly [string, Value][] = []): [string, Value][] {
  const terms = gradient ? summandsOf(gradient) : [];
  const looked = terms.filter(isOfRows);
  const others = terms.filter((term) => !isOfRows(term));
  const whole = others.length === terms.length ? gradient : sumOf(others);
  const denseParts: readonly [string, Value][] = whole
    ? [
        [
          local,
          pieces.length > 0
            ? add(
                whole,
                concat(
                  pieces.map(([, piece]) => piece),
                  0,
                ),
              )
            : whole,
        ],
      ]
    : pieces;
  return [
    ...denseParts.map(([name, value]): [string, Value] => [`${dense}${name}`, value]),
    ...looked.flatMap(({ producer }, i): [string, Value][] => [
      [`${rowsAt}${i}.${local}`, producer!.inputs[0]!],
      [`${rows}${i}.${local}`, producer!.inputs[1]!],
    ]),
  ];
}

const sumOf = (terms: readonly Value[]): Value | undefined =>
  terms.reduce<Value | undefined>((sum, term) => (sum ? add(sum, term) : term), undefined);

const isOfRows = ({ producer }: Value): boolean => producer?.op.name === "scatterAddRows";

const summandsOf = (value: Value): Value[] => {
  const { producer } = value;
  const isSum = producer?.op.name === "add" && producer.inputs.every(({ shape }) => shape.length === value.shape.length);
  return isSum && producer.inputs.some((term) => summandsOf(term).some(isOfRows)) ? producer.inputs.flatMap(summandsOf) : [value];
};

/** The local name of the parameter, or of the piece of one, whose dense gradient an output holds. */
export const denseGradientOf = (output: string): string | undefined => (output.startsWith(dense) ? output.slice(dense.length) : undefined);

/** A parameter, or some rows of it. */
export interface GradientPlace {
  readonly parameter: string;
  readonly rows?: { readonly start: number; readonly end: number };
}

/** Where the gradients of a pass go. What is held counts only once something was added in the step under way. */
export interface GradientSink {
  /** What a graph writes a dense gradient into: an accumulator that is empty; undefined where the result is handed over. */
  target(place: GradientPlace): HostTensor | undefined;
  /** Everything that a graph gave, which is used up. @param placeOf what a local name stands for */
  addAll(results: Readonly<Record<string, Tensor>>, placeOf: (local: string) => GradientPlace): Promise<void>;
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

  target(place: GradientPlace): HostTensor | undefined {
    if (this.#begun.has(place.parameter)) return undefined;
    const [, ...inner] = this.#store.parameters.get(place.parameter)!.spec.shape;
    const data = this.#accumulator(place);
    return { dtype: "float32", dims: [data.length / count(inner), ...inner], data };
  }

  async addAll(results: Readonly<Record<string, Tensor>>, placeOf: (local: string) => GradientPlace): Promise<void> {
    const { dense, rows } = gradientsIn(results as Readonly<Record<string, HostTensor>>);
    const places = dense.map(([local, tensor]) => ({ place: placeOf(local), values: (tensor as HostTensor).data as Float32Array }));
    // Dense parts first: they may be written over what an accumulator held. Pieces of a table come all together.
    for (const { place, values } of places) this.#add(place, values);
    for (const { place } of places) this.#begun.add(place.parameter);
    for (const [local, looked] of rows) this.#addRows(placeOf(local).parameter, looked);
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

  #accumulator({ parameter, rows }: GradientPlace): Float32Array {
    const { gradient, spec } = this.#store.parameters.get(parameter)!;
    const width = count(spec.shape.slice(1));
    return rows ? gradient!.subarray(rows.start * width, rows.end * width) : gradient!;
  }

  #add(place: GradientPlace, values: Float32Array): void {
    const accumulator = this.#accumulator(place);
    const isThere = values.buffer === accumulator.buffer && values.byteOffset === accumulator.byteOffset;
    if (isThere) return;
    if (this.#begun.has(place.parameter)) for (let i = 0; i < values.length; i++) accumulator[i]! += values[i]!;
    else accumulator.set(values);
    giveBack(values);
  }

  #addRows(parameter: string, { indices, updates }: { indices: HostTensor; updates: HostTensor }): void {
    const { gradient, spec } = this.#store.parameters.get(parameter)!;
    const accumulator = gradient!;
    if (!this.#begun.has(parameter)) accumulator.fill(0);
    this.#begun.add(parameter);
    const width = count(spec.shape.slice(1));
    const [at, values] = [indices.data as BigInt64Array, updates.data as Float32Array];
    for (let row = 0; row < at.length; row++) {
      const start = Number(at[row]!) * width;
      for (let i = 0; i < width; i++) accumulator[start + i]! += values[row * width + i]!;
    }
  }
}
