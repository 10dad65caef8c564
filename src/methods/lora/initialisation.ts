/**
 * How A [r, in] and B [out, r] begin.
 *   default   A uniform in +-1/sqrt(in) as in PEFT (the paper: normal), B zero
 *   gaussian  A normal with deviation 1/r, B zero
 *   pissa     the first r singular triples of W / scale: A = S^1/2 V^T, B = U S^1/2. Meng et al. 2024, https://arxiv.org/abs/2404.02948
 *   olora     the first r columns and rows of W = Q R: B = Q, A = R. Büyükakyüz 2024, https://arxiv.org/abs/2406.01775
 * The last two take what A and B hold out of the base weight, so that training still starts at the base model. They
 * differ from PEFT in nothing but the singular vectors' signs, and that a Conv1D weight is turned before its QR.
 */
import { qr, transpose, truncatedSvd } from "../../base/linear-algebra.ts";
import type { Random } from "../../base/random.ts";
import type { LinearModule } from "../../models/segments.ts";

export const initialisations = ["default", "gaussian", "pissa", "olora"] as const;
export type Initialisation = (typeof initialisations)[number];

/** True where the base weight loses what A and B hold at the start. */
export const changesBase = (name: string): boolean => name === "pissa" || name === "olora";

export interface Factors {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

export interface StartOptions {
  readonly name: Initialisation;
  readonly linear: LinearModule;
  readonly rank: number;
  readonly scale: number;
  readonly random: Random;
  /** The base weight as [out, in]. */
  weight(): Promise<Float64Array>;
}

export async function startFactors({ name, linear, rank, scale, random, weight }: StartOptions): Promise<Factors> {
  const { inFeatures, outFeatures } = linear;
  const zero = new Float32Array(outFeatures * rank);
  const draw = (next: () => number): Float32Array => Float32Array.from({ length: rank * inFeatures }, next);
  switch (name) {
    case "default": {
      const bound = 1 / Math.sqrt(inFeatures);
      return { a: draw(() => (2 * random.next() - 1) * bound), b: zero };
    }
    case "gaussian":
      return { a: draw(() => random.normal() / rank), b: zero };
    case "pissa": {
      const { u, s, v } = truncatedSvd(await weight(), outFeatures, inFeatures, rank);
      const roots = s.map((value) => Math.sqrt(value / scale));
      const a = Float32Array.from({ length: rank * inFeatures }, (_, i) => {
        const [r, column] = [Math.floor(i / inFeatures), i % inFeatures];
        return roots[r]! * v[column * rank + r]!;
      });
      return { a, b: Float32Array.from(u, (value, i) => value * roots[i % rank]!) };
    }
    case "olora": {
      const matrix = await weight();
      // Q's first r columns need W's first r columns only, and R's first r rows are Q^T W.
      const { q } = qr(firstColumns(matrix, inFeatures, rank), outFeatures, rank);
      const a = new Float32Array(rank * inFeatures);
      for (let r = 0; r < rank; r++) {
        const row = new Float64Array(inFeatures);
        for (let o = 0; o < outFeatures; o++) {
          const factor = q[o * rank + r]!;
          for (let i = 0; i < inFeatures; i++) row[i]! += factor * matrix[o * inFeatures + i]!;
        }
        a.set(row, r * inFeatures);
      }
      return { a, b: Float32Array.from(q) };
    }
  }
}

const firstColumns = (matrix: Float64Array, columns: number, kept: number): Float64Array => matrix.filter((_, i) => i % columns < kept);

/** A weight in its layout as [out, in] in float64. */
export function asOutIn(data: Float32Array, { inFeatures, outFeatures, layout }: LinearModule): Float64Array {
  const matrix = Float64Array.from(data);
  return layout === "out-in" ? matrix : transpose(matrix, inFeatures, outFeatures);
}
