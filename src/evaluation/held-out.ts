/** A model on held-out examples, document by document: loss, and what the metrics of its task make of its predictions. */
import type { CollatedBatch, TokenizedExample } from "../data/batch.ts";
import { collate, documentsOf, lengthOf } from "../data/batches.ts";
import type { Collator } from "../data/collators.ts";
import type { TrainingEngine } from "../execution/engine.ts";
import { loss } from "./metrics/loss.ts";
import { perplexity } from "./metrics/perplexity.ts";
import { tokenAccuracy } from "./metrics/token-accuracy.ts";
import type { DocumentLoss } from "./paired-bootstrap.ts";
import { computeTaskMetrics, taskMetrics } from "./task-metrics/registry.ts";
import type { Scores } from "./task-metrics/task-metric.ts";

export interface HeldOutResult {
  /** Mean over targets, nats. */
  readonly loss: number;
  readonly perplexity: number;
  /** Share of targets whose most likely prediction is right. */
  readonly tokenAccuracy: number;
  readonly tokens: number;
  readonly documents: readonly DocumentLoss[];
  /** Of the task, by their names in metrics files; none for language models. */
  readonly metrics: Readonly<Record<string, number>>;
  /** True if the metrics are of texts that a language model wrote, and stand beside its perplexity. */
  readonly isOfTexts?: boolean;
  /** What the metrics were computed from. */
  readonly scores?: Scores;
}

/** What a reader is shown beside the loss: a language model's perplexity and token accuracy, the metrics of the task or of the texts that were written. */
export function figuresOf({ perplexity, tokenAccuracy, metrics, isOfTexts }: HeldOutResult): readonly Figure[] {
  const computed = taskMetrics
    .filter(({ logName }) => metrics[logName] !== undefined)
    .map(({ name, logName }) => ({ name: name.replaceAll("-", " "), logName, value: metrics[logName]!, isShare: true }));
  if (computed.length > 0 && !isOfTexts) return computed;
  return [
    { name: "perplexity", logName: "eval_perplexity", value: perplexity, isShare: false },
    { name: "token accuracy", logName: "eval_token_accuracy", value: tokenAccuracy, isShare: true },
    ...computed,
  ];
}

export interface Figure {
  readonly name: string;
  /** Its column in metrics files. */
  readonly logName: string;
  readonly value: number;
  /** Between 0 and 1, or -1 and 1. */
  readonly isShare: boolean;
}

export const showFigure = ({ value, isShare }: Figure): string => (isShare ? `${(100 * value).toFixed(1)}%` : value.toFixed(2));

/** An example with what the model said of it. */
export interface ScoredDocument {
  readonly example: TokenizedExample;
  /** What the objective gave for each of its labels, tokens or documents (`predictionsPer`), [n][K]. */
  readonly predictions: readonly Float32Array[];
}

export interface HeldOutOptions {
  readonly collator?: Collator;
  /** What has a row in the predictions. */
  readonly objective?: { readonly predictionsPer?: "label" | "token" | "document" } | undefined;
  /** Tokens that one batch may hold, if it holds more than one example. */
  readonly batchTokens?: number;
  /** What metrics are computed from. */
  score?(scored: readonly ScoredDocument[]): Scores;
}

type Evaluator = Pick<TrainingEngine, "evaluate">;

/** Tokens in a batch where nothing is said: enough to keep the cores busy. */
export const ampleBatchTokens = 2048;

export async function evaluateHeldOut(
  engine: Evaluator,
  examples: readonly TokenizedExample[],
  options: HeldOutOptions = {},
): Promise<HeldOutResult> {
  const documents: DocumentLoss[] = new Array(examples.length);
  const scored: ScoredDocument[] = new Array(examples.length);
  let [lossSum, tokens, correct] = [0, 0, 0];
  for await (const { at, result, sums, predictions } of judgeExamples(engine, examples, options)) {
    lossSum += result.lossSum;
    tokens += result.tokens;
    correct += result.correct;
    at.forEach((i, b) => {
      documents[i] = sums[b]!;
      scored[i] = { example: examples[i]!, predictions: predictions[b]! };
    });
  }
  const totals = { lossSum, tokens, correct };
  const scores = options.score?.(scored);
  return {
    loss: loss.compute(totals),
    perplexity: perplexity.compute(totals),
    tokenAccuracy: tokenAccuracy.compute(totals),
    tokens,
    documents,
    metrics: scores ? computeTaskMetrics(scores) : {},
    ...(scores && { scores }),
  };
}

/** What a model says of examples, in their order. */
export async function predict(
  engine: Evaluator,
  examples: readonly TokenizedExample[],
  options: HeldOutOptions,
): Promise<ScoredDocument[]> {
  const scored: ScoredDocument[] = new Array(examples.length);
  for await (const { at, predictions } of judgeExamples(engine, examples, options))
    at.forEach((i, b) => {
      scored[i] = { example: examples[i]!, predictions: predictions[b]! };
    });
  return scored;
}

/** Batch by batch, examples of similar length together: which examples, their losses, and what was said of each. */
async function* judgeExamples(
  engine: Evaluator,
  examples: readonly TokenizedExample[],
  { collator, objective, batchTokens = ampleBatchTokens }: HeldOutOptions,
) {
  const lengths = examples.map((example) => documentsOf(example).map(lengthOf));
  const longest = lengths.map((own) => Math.max(...own));
  const order = [...examples.keys()].sort((a, b) => longest[a]! - longest[b]!);
  for (let start = 0; start < order.length; ) {
    let [end, rows] = [start + 1, lengths[order[start]!]!.length];
    for (; end < order.length; end++) {
      rows += lengths[order[end]!]!.length;
      if (rows * longest[order[end]!]! > batchTokens) break;
    }
    const at = order.slice(start, end);
    const owners = new Map<TokenizedExample, number>();
    at.forEach((i, b) => documentsOf(examples[i]!).forEach((document) => owners.set(document, b)));
    const batch = collate(
      at.flatMap((i) => documentsOf(examples[i]!).map((document) => [document])),
      collator,
    );
    const exampleOf = (document: number): number => owners.get(batch.documents[document]!)!;
    const result = await engine.evaluate(batch);
    const sums = at.map(() => ({ lossSum: 0, tokens: 0 }));
    batch.documentOfLabel.forEach((document, i) => {
      const sum = sums[exampleOf(document)]!;
      sum.lossSum += result.perTarget[i]!;
      sum.tokens++;
    });
    const predictions: Float32Array[][] = at.map(() => []);
    if (result.predictions) {
      const documentOf = documentsBehind(batch, objective?.predictionsPer ?? "label");
      const width = result.predictions.length / documentOf.length;
      documentOf.forEach((document, i) => predictions[exampleOf(document)]!.push(result.predictions!.slice(i * width, (i + 1) * width)));
    }
    yield { at, result, sums, predictions };
    start = end;
  }
}

/** The document that each row of the predictions is about. */
function documentsBehind(batch: CollatedBatch, per: "label" | "token" | "document"): Int32Array {
  if (per === "label") return batch.documentOfLabel;
  return per === "token" ? batch.documentOfRow : Int32Array.from(batch.documents.keys());
}
