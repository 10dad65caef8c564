/**
 * SLERP: from the first model to the second along the arc between each pair of tensors, seen as flat vectors. Shoemake 1985;
 * the form that mergekit uses: the angle is that of the directions, the lengths stay, and nearly parallel tensors go straight.
 */
import { z } from "zod";
import { weightedSum } from "../task-vectors.ts";
import { defineCombiner } from "./combiner.ts";

/** Cosine above which the arc is as good as straight, and dividing by its sine is not safe. */
const parallel = 0.9995;

export const slerp = defineCombiner({
  name: "slerp",
  summary: "Two models, joined along the arc between them instead of the straight line.",
  configSchema: z.strictObject({
    name: z.literal("slerp"),
    t: z.number().min(0).max(1).default(0.5).describe("0 is the first model, 1 the second."),
  }),
  of: "weights",
  sources: 2,
  weightsProblem: (given) => given && "slerp has none; method.t says how far it goes.",
  combine([first, second], _, { t }) {
    const cosine = dot(first!, second!) / (Math.sqrt(dot(first!, first!) * dot(second!, second!)) || 1);
    if (Math.abs(cosine) > parallel) return weightedSum([first!, second!], [1 - t, t]);
    const angle = Math.acos(cosine);
    return weightedSum([first!, second!], [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)]);
  },
});

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
