/**
 * Main directions of rows that come in batches, as scikit-learn and PEFT find them: the directions so far, weighted with their
 * singular values, stand for all earlier rows. Ross et al. 2008, https://www.cs.toronto.edu/~dross/ivt/RossLimLinYang_ijcv.pdf.
 */
import { type SingularValues, truncatedSvd } from "./linear-algebra.ts";

export interface MainDirections {
  /** Row by row, [components, features]; the entry of largest magnitude in each is positive. */
  readonly components: Float64Array;
  readonly singularValues: Float64Array;
  /** Share of the variance of all features that each direction explains. */
  readonly explainedVarianceRatio: Float64Array;
}

export interface IncrementalPcaOptions {
  readonly components: number;
  readonly features: number;
}

/** Directions of wide data need not be exact: PEFT finds them with a randomised method, too. */
const mostBlocks = 4;

export class IncrementalPca {
  readonly #components: number;
  readonly #features: number;
  #seen = 0;
  #mean: Float64Array;
  /** Sum over rows of squared distances from the mean, by feature. */
  #spread: Float64Array;
  #found: MainDirections | undefined;

  constructor({ components, features }: IncrementalPcaOptions) {
    this.#components = components;
    this.#features = features;
    this.#mean = new Float64Array(features);
    this.#spread = new Float64Array(features);
  }

  /** Undefined before the first batch. */
  get found(): MainDirections | undefined {
    return this.#found;
  }

  /** @param rows [count, features], at least as many as components */
  add(rows: Float32Array): void {
    const [C, count] = [this.#features, rows.length / this.#features];
    const batchMean = new Float64Array(C);
    rows.forEach((value, i) => {
      batchMean[i % C]! += value / count;
    });
    const total = this.#seen + count;
    const shift = Math.sqrt((this.#seen / total) * count);
    const earlier = this.#found?.components.length ?? 0;
    // Earlier rows, the new ones around their own mean, and the distance between the two means.
    const stacked = new Float64Array(earlier + rows.length + (this.#found ? C : 0));
    for (let i = 0; i < earlier; i++) stacked[i] = this.#found!.singularValues[Math.floor(i / C)]! * this.#found!.components[i]!;
    rows.forEach((value, i) => {
      const centred = value - batchMean[i % C]!;
      stacked[earlier + i] = centred;
      this.#spread[i % C]! += centred * centred;
    });
    for (let i = 0; i < C; i++) {
      const distance = this.#mean[i]! - batchMean[i]!;
      if (this.#found) stacked[earlier + rows.length + i] = shift * distance;
      this.#spread[i]! += (shift * distance) ** 2;
      this.#mean[i] = (this.#seen * this.#mean[i]! + count * batchMean[i]!) / total;
    }
    this.#seen = total;
    const { s, v } = truncatedSvd(stacked, stacked.length / C, C, this.#components, { mostBlocks });
    const variance = this.#spread.reduce((sum, value) => sum + value, 0);
    this.#found = {
      components: withSigns({ s, v }, C),
      singularValues: s,
      explainedVarianceRatio: s.map((value) => value ** 2 / variance),
    };
  }
}

/** Columns of v as rows, each with its largest entry positive. */
function withSigns({ s, v }: Pick<SingularValues, "s" | "v">, features: number): Float64Array {
  const components = new Float64Array(s.length * features);
  for (let k = 0; k < s.length; k++) {
    let largest = 0;
    for (let i = 0; i < features; i++) if (Math.abs(v[i * s.length + k]!) > Math.abs(largest)) largest = v[i * s.length + k]!;
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < features; i++) components[k * features + i] = sign * v[i * s.length + k]!;
  }
  return components;
}
