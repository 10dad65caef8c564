/**
 * How LoRA updates of one module become one: PEFT's combination types. `cat` and `svd` give the weighted sum of the
 * products B A, exactly and to the best of a lower rank; a combiner works on A and on B apart, or on the products
 * (`..._svd`), which costs more and is nearer to what it means.
 */
import { z } from "zod";
import { ConfigError } from "../../base/errors.ts";
import { multiply, qr, svd, transpose, truncatedSvd } from "../../base/linear-algebra.ts";
import type { CombineOptions, Combiner } from "./combiners/combiner.ts";
import { combiners } from "./combiners/registry.ts";
import type { LoraUpdate } from "./lora-update.ts";

export interface MergeOptions extends CombineOptions {
  readonly module: string;
  /** Largest rank of any source: what the `svd` types take where the recipe names none. */
  readonly largestRank: number;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds methods of many config types
export interface AdapterMethod<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly configSchema: z.ZodObject;
  /** @param updates of one module, with the weights of those sources that have it; the result has scale 1 */
  merge(updates: readonly LoraUpdate[], options: MergeOptions, config: Config): LoraUpdate;
}

const svdRank = z.int().positive().optional().describe("Rank of the result. Default: the largest rank of the sources.");

const cat: AdapterMethod = {
  name: "cat",
  summary: "Factors side by side: the exact weighted sum, of the summed rank.",
  configSchema: z.strictObject({ name: z.literal("cat") }),
  merge(updates, { weights }) {
    const { inFeatures, outFeatures } = updates[0]!;
    const rank = updates.reduce((sum, update) => sum + update.rank, 0);
    const [a, b] = [new Float32Array(rank * inFeatures), new Float32Array(outFeatures * rank)];
    let done = 0;
    for (const [i, update] of updates.entries()) {
      a.set(
        update.a.map((x) => x * weights[i]! * update.scale),
        done * inFeatures,
      );
      for (let o = 0; o < outFeatures; o++) b.set(update.b.subarray(o * update.rank, (o + 1) * update.rank), o * rank + done);
      done += update.rank;
    }
    return { rank, inFeatures, outFeatures, scale: 1, a, b };
  },
};

const exactSvd: AdapterMethod<{ svdRank?: number }> = {
  name: "svd",
  summary: "The weighted sum of the updates, cut to the largest singular values.",
  configSchema: z.strictObject({ name: z.literal("svd"), svdRank }),
  /** The sum is a product of the stacked factors, so the SVD is that of a small core between two orthogonal matrices. */
  merge(updates, options, config) {
    const { a, b, rank, inFeatures, outFeatures } = cat.merge(updates, options, {});
    const left = qr(Float64Array.from(b), outFeatures, rank);
    const right = qr(transpose(Float64Array.from(a), rank, inFeatures), inFeatures, rank);
    const [rows, columns] = [Math.min(outFeatures, rank), Math.min(inFeatures, rank)];
    const core = multiply(left.r, transpose(right.r, columns, rank), { rows, inner: rank, columns });
    const { u, s, v } = svd(core, rows, columns);
    const k = s.length;
    return keepRank(
      {
        u: multiply(left.q, u, { rows: outFeatures, inner: rows, columns: k }),
        s,
        v: multiply(right.q, v, { rows: inFeatures, inner: columns, columns: k }),
      },
      { inFeatures, outFeatures, rank: Math.min(config.svdRank ?? options.largestRank, inFeatures, outFeatures) },
    );
  },
};

/** B = u s and A = v^T, with zeros where the rank asked for is above that of the update. */
function keepRank(
  { u, s, v }: ReturnType<typeof svd>,
  { rank, inFeatures, outFeatures }: Pick<LoraUpdate, "rank" | "inFeatures" | "outFeatures">,
): LoraUpdate {
  const k = s.length;
  const a = Float32Array.from({ length: rank * inFeatures }, (_, i) => {
    const r = Math.floor(i / inFeatures);
    return r < k ? v[(i % inFeatures) * k + r]! : 0;
  });
  const b = Float32Array.from({ length: outFeatures * rank }, (_, i) => {
    const r = i % rank;
    return r < k ? u[Math.floor(i / rank) * k + r]! * s[r]! : 0;
  });
  return { rank, inFeatures, outFeatures, scale: 1, a, b };
}

/** The combiner on all A and on all B. Each takes the root of the weight, and A its sign, so that their product carries it once. */
const onFactors = (combiner: Combiner, name = combiner.name): AdapterMethod => ({
  name,
  summary: `${combiner.name} of all A and of all B, apart: quick and rough; ranks must be equal.`,
  configSchema: combiner.configSchema.extend({ name: z.literal(name) }),
  merge(updates, { weights, random, module }, config) {
    const [first] = updates as [LoraUpdate];
    if (updates.some(({ rank }) => rank !== first.rank))
      throw new ConfigError(
        `method.name: "${name}" needs adapters of equal rank; ${module} has the ranks ${updates.map(({ rank }) => rank).join(", ")}. Use cat, svd${name === "linear" ? "" : ` or ${name}_svd`}.`,
      );
    const strengths = updates.map(({ scale }, i) => scale * weights[i]!);
    const roots = strengths.map((strength) => Math.sqrt(Math.abs(strength)));
    const signed = roots.map((root, i) => (strengths[i]! < 0 ? -root : root));
    const a = combiner.combine(
      updates.map((update) => update.a),
      { weights: signed, random },
      config,
    );
    const b = combiner.combine(
      updates.map((update) => update.b),
      { weights: roots, random },
      config,
    );
    return { ...first, scale: 1, a, b };
  },
});

/** The combiner on the products scale B A, cut to the largest singular values. */
const onProducts = (combiner: Combiner): AdapterMethod => ({
  name: `${combiner.name}_svd`,
  summary: `${combiner.name} of the products B A, cut to the largest singular values.`,
  configSchema: combiner.configSchema.extend({ name: z.literal(`${combiner.name}_svd`), svdRank }),
  merge(updates, { weights, random, largestRank }, config) {
    const { inFeatures, outFeatures } = updates[0]!;
    const combined = combiner.combine(updates.map(productOf), { weights, random }, config);
    const rank = Math.min(config.svdRank ?? largestRank, inFeatures, outFeatures);
    return keepRank(truncatedSvd(Float64Array.from(combined), outFeatures, inFeatures, rank), { rank, inFeatures, outFeatures });
  },
});

/** scale B A, [out, in]. */
export function productOf({ a, b, rank, inFeatures, outFeatures, scale }: LoraUpdate): Float32Array {
  const product = multiply(Float64Array.from(b), Float64Array.from(a), { rows: outFeatures, inner: rank, columns: inFeatures });
  return Float32Array.from(product, (x) => scale * x);
}

const ofTaskVectors = (combiners as readonly Combiner[]).filter((combiner) => combiner.of === "task vectors");
const isSum = ({ name }: Combiner): boolean => name === "task_arithmetic";

/** PEFT's names: the plain sum is `linear` on factors and `svd` on products. */
export const adapterMethods: readonly AdapterMethod[] = [
  ...[cat, exactSvd],
  ...ofTaskVectors.map((combiner) => onFactors(combiner, isSum(combiner) ? "linear" : combiner.name)),
  ...ofTaskVectors.filter((combiner) => !isSum(combiner)).map(onProducts),
];
