/** Softmax in two parts, so that a draw needs no division. */
import { DivergenceError } from "../../base/errors.ts";

/** The numerators of softmax: exp(logit - largest) of each logit [V], so the likeliest has 1; and their sum.
 * @throws DivergenceError if a logit is NaN or infinity, or all are minus infinity */
export function exponentials(logits: Float32Array): { weights: Float64Array; sum: number } {
  const largest = logits[largestIndex(logits)]!;
  const weights = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    const weight = Math.exp(logits[i]! - largest);
    weights[i] = weight;
    sum += weight;
  }
  return { weights, sum };
}

/** Logarithms of softmax, [V]. @throws DivergenceError as above */
export function logSoftmax(logits: Float32Array): Float32Array {
  const largest = logits[largestIndex(logits)]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - largest);
  const normaliser = largest + Math.log(sum);
  const logarithms = new Float32Array(logits.length);
  for (let i = 0; i < logits.length; i++) logarithms[i] = logits[i]! - normaliser;
  return logarithms;
}

/** The index of the largest logit [V], the first of equal ones.
 * @throws DivergenceError as above */
export function largestIndex(logits: Float32Array): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i]!)) throw unusable(`logit ${i} is NaN`);
    if (logits[i]! > logits[best]!) best = i;
  }
  if (!Number.isFinite(logits[best] ?? Number.NaN)) throw unusable(`the largest of ${logits.length} logits is ${logits[best]}`);
  return best;
}

const unusable = (what: string): DivergenceError =>
  new DivergenceError(
    `sampling: ${what}, so no token can be drawn. Logits must be finite numbers; check that training did not diverge and that the weights belong to this config.json.`,
  );
