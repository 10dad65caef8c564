/** Loss, perplexity and token accuracy of a model on held-out examples, document by document. */
import type { TokenizedExample } from "../data/batch.ts";
import { collate } from "../data/batches.ts";
import type { Collator } from "../data/collators.ts";
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
  /** Of the task, by their names in metrics files; none for language models. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** What a reader is shown beside the loss: a language model's perplexity and token accuracy, or the metrics of the task. */
export function figuresOf({ perplexity, tokenAccuracy, metrics }: HeldOutResult): readonly Figure[] {
  const ofTask = Object.entries(metrics).map(([name, value]) => ({
    name: name.replace("eval_", "").replaceAll("_", " "),
    value,
    isShare: true,
  }));
  if (ofTask.length > 0) return ofTask;
  return [
    { name: "perplexity", value: perplexity, isShare: false },
    { name: "token accuracy", value: tokenAccuracy, isShare: true },
  ];
}

export interface Figure {
  readonly name: string;
  readonly value: number;
  /** Between 0 and 1, or -1 and 1. */
  readonly isShare: boolean;
}

export const showFigure = ({ value, isShare }: Figure): string => (isShare ? `${(100 * value).toFixed(1)}%` : value.toFixed(2));

export interface HeldOutOptions {
  readonly collator?: Collator;
  /** From what the model said of every document, [rows][K]. */
  metrics?(
    scored: readonly { readonly example: TokenizedExample; readonly predictions: readonly Float32Array[] }[],
  ): Record<string, number>;
}

/** Tokens that one batch may hold; examples of similar length go together. */
const batchTokens = 2048;

export async function evaluateHeldOut(
  engine: Pick<TrainingEngine, "evaluate">,
  examples: readonly TokenizedExample[],
  { collator, metrics }: HeldOutOptions = {},
): Promise<HeldOutResult> {
  const order = [...examples.keys()].sort((a, b) => examples[a]!.inputIds.length - examples[b]!.inputIds.length);
  const documents: DocumentLoss[] = new Array(examples.length);
  const predictions: Float32Array[][] = examples.map(() => []);
  let [lossSum, tokens, correct] = [0, 0, 0];
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && (end - start + 1) * examples[order[end]!]!.inputIds.length <= batchTokens) end++;
    const picked = order.slice(start, end);
    const batch = collate(
      picked.map((i) => [examples[i]!]),
      collator,
    );
    const result = await engine.evaluate(batch);
    lossSum += result.lossSum;
    tokens += result.tokens;
    correct += result.correct;
    const sums = picked.map(() => ({ lossSum: 0, tokens: 0 }));
    // Labels stand at rows of the head, or there is one for each document, whose rows are pooled.
    const standAtRows = batch.targetLabels.length === batch.targetPositions.length;
    const width = result.predictions && result.predictions.length / batch.targetLabels.length;
    batch.targetLabels.forEach((_, i) => {
      const b = standAtRows ? Math.floor(batch.targetPositions[i]! / batch.tokens) : i;
      sums[b]!.lossSum += result.perTarget[i]!;
      sums[b]!.tokens++;
      if (width) predictions[picked[b]!]!.push(result.predictions!.slice(i * width, (i + 1) * width));
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
    metrics: metrics?.(examples.map((example, i) => ({ example, predictions: predictions[i]! }))) ?? {},
  };
}
