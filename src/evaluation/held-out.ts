/** Loss, perplexity and token accuracy of a model on held-out examples, document by document. */
import type { TokenizedExample } from "../data/batch.ts";
import { collate } from "../data/batches.ts";
import type { TrainingEngine } from "../execution/engine.ts";
import { loss } from "./metrics/loss.ts";
import { perplexity } from "./metrics/perplexity.ts";
import { tokenAccuracy } from "./metrics/token-accuracy.ts";
import type { DocumentLoss } from "./paired-bootstrap.ts";

export interface HeldOutResult {
  /** Mean over tokens, nats. */
  readonly loss: number;
  readonly perplexity: number;
  /** Share of tokens whose most likely prediction is right. */
  readonly tokenAccuracy: number;
  readonly tokens: number;
  readonly documents: readonly DocumentLoss[];
}

/** Tokens that one batch may hold; examples of similar length go together. */
const batchTokens = 2048;

export async function evaluateHeldOut(
  engine: Pick<TrainingEngine, "evaluate">,
  examples: readonly TokenizedExample[],
): Promise<HeldOutResult> {
  const order = [...examples.keys()].sort((a, b) => examples[a]!.inputIds.length - examples[b]!.inputIds.length);
  const documents: DocumentLoss[] = new Array(examples.length);
  let [lossSum, tokens, correct] = [0, 0, 0];
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && (end - start + 1) * examples[order[end]!]!.inputIds.length <= batchTokens) end++;
    const picked = order.slice(start, end);
    const batch = collate(picked.map((i) => [examples[i]!]));
    const result = await engine.evaluate(batch);
    lossSum += result.lossSum;
    tokens += result.tokens;
    correct += result.correct;
    const sums = picked.map(() => ({ lossSum: 0, tokens: 0 }));
    batch.targetPositions.forEach((position, i) => {
      const document = sums[Math.floor(position / batch.tokens)]!;
      document.lossSum += result.perTarget[i]!;
      document.tokens++;
    });
    picked.forEach((i, b) => {
      documents[i] = sums[b]!;
    });
    start = end;
  }
  const totals = { lossSum, tokens, correct };
  return {
    loss: loss.compute(totals),
    perplexity: perplexity.compute(totals),
    tokenAccuracy: tokenAccuracy.compute(totals),
    tokens,
    documents,
  };
}
