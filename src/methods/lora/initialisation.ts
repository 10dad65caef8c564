/**
 * How A [r, in] and B [out, r] begin.
 *   default   A uniform in +-1/sqrt(in) as in PEFT (the paper: normal), B zero
 *   gaussian  A normal with deviation 1/r, B zero
 *   pissa     the first r singular triples of W / scale: A = S^1/2 V^T, B = U S^1/2. Meng et al. 2024, https://arxiv.org/abs/2404.02948
 *   olora     the first r columns and rows of W = Q R: B = Q, A = R. Büyükakyüz 2024, https://arxiv.org/abs/2406.01775
 *   loftq     for a quantised base Q: B A / scale near W - Q(W). Li et al. 2023, https://arxiv.org/abs/2310.08659. With more than one
 *             iteration the base becomes Q(W - B A) and the factors follow it. Differs from PEFT: divided by the scale, which PEFT
 *             leaves out, so that the sum is near W at any alpha; and above 512 columns the singular vectors are approximate.
 *   eva       A is given: the main directions of what the layer reads (eva.ts), B zero
 * pissa and olora take what A and B hold out of the base weight, so that training still starts at the base model. They
 * differ from PEFT in nothing but the singular vectors' signs, and that a Conv1D weight is turned before its QR.
 */
import { multiply, qr, type SingularValues, transpose, truncatedSvd } from "../../base/linear-algebra.ts";
import type { Random } from "../../base/random.ts";
import type { LinearModule } from "../../models/segments.ts";
import type { MethodTarget } from "../method.ts";

export const initialisations = ["default", "gaussian", "pissa", "olora", "loftq", "eva"] as const;
export type Initialisation = (typeof initialisations)[number];

/** True where the base weight loses something at the start. */
export const changesBase = ({ initLoraWeights: name, loftqIter }: { initLoraWeights: Initialisation; loftqIter: number }): boolean =>
  name === "pissa" || name === "olora" || (name === "loftq" && loftqIter > 1);

export interface Factors {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

export interface Start extends Factors {
  /** What the base weight loses; nothing where absent. */
  readonly taken?: Factors;
}

export interface StartOptions {
  readonly name: Initialisation;
  readonly loftqIter: number;
  /** A of `eva`. */
  readonly given: Float32Array | undefined;
  readonly quantised: MethodTarget["quantised"];
  readonly linear: LinearModule;
  readonly rank: number;
  readonly scale: number;
  readonly random: Random;
  /** The base weight as [out, in]. */
  weight(): Promise<Float64Array>;
}

export async function startFactors({ name, linear, rank, scale, random, weight, ...more }: StartOptions): Promise<Start> {
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
      const factors = mainPart(truncatedSvd(await weight(), outFeatures, inFeatures, rank), { rank, inFeatures, scale });
      return { ...factors, taken: factors };
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
      const factors = { a, b: Float32Array.from(q) };
      return { ...factors, taken: factors };
    }
    case "eva":
      return { a: more.given!, b: zero };
    case "loftq": {
      const { roundTrip } = more.quantised!;
      const original = await weight();
      let [factors, taken]: (Factors | undefined)[] = [];
      for (let i = 0; i < more.loftqIter; i++) {
        taken = factors;
        const target = taken ? subtractProduct(original, { ...taken, scale, inFeatures }) : original;
        const rounded = asOutIn(roundTrip(inLayout(target, linear), linear), linear);
        const error = original.map((value, at) => value - rounded[at]!);
        factors = mainPart(truncatedSvd(error, outFeatures, inFeatures, rank, { mostBlocks: 6 }), { rank, inFeatures, scale });
      }
      return { ...factors!, ...(taken && { taken }) };
    }
  }
}

/** scale B A is the part of a matrix that its largest singular values make. */
function mainPart({ u, s, v }: SingularValues, { rank, inFeatures, scale }: { rank: number; inFeatures: number; scale: number }): Factors {
  const roots = s.map((value) => Math.sqrt(value / scale));
  const a = Float32Array.from({ length: rank * inFeatures }, (_, i) => {
    const [r, column] = [Math.floor(i / inFeatures), i % inFeatures];
    return roots[r]! * v[column * rank + r]!;
  });
  return { a, b: Float32Array.from(u, (value, i) => value * roots[i % rank]!) };
}

/** matrix [out, in] - scale B A. */
function subtractProduct(matrix: Float64Array, { a, b, scale, inFeatures }: Factors & { scale: number; inFeatures: number }): Float64Array {
  const rank = a.length / inFeatures;
  const outFeatures = matrix.length / inFeatures;
  const product = multiply(Float64Array.from(b), Float64Array.from(a), { rows: outFeatures, inner: rank, columns: inFeatures });
  return matrix.map((value, i) => value - scale * product[i]!);
}

const firstColumns = (matrix: Float64Array, columns: number, kept: number): Float64Array => matrix.filter((_, i) => i % columns < kept);

/** A matrix [out, in] in the layout of the weight. */
const inLayout = (matrix: Float64Array, { inFeatures, outFeatures, layout }: LinearModule): Float32Array =>
  Float32Array.from(layout === "out-in" ? matrix : transpose(matrix, outFeatures, inFeatures));

/** A weight in its layout as [out, in] in float64. */
export function asOutIn(data: Float32Array, { inFeatures, outFeatures, layout }: LinearModule): Float64Array {
  const matrix = Float64Array.from(data);
  return layout === "out-in" ? matrix : transpose(matrix, inFeatures, outFeatures);
}
