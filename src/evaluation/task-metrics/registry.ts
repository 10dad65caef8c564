/** Every metric of tasks, in the order in which they are shown. */
import { accuracy } from "./accuracy.ts";
import { answerF1 } from "./answer-f1.ts";
import { binaryF1 } from "./binary-f1.ts";
import { binaryPrecision } from "./binary-precision.ts";
import { binaryRecall } from "./binary-recall.ts";
import { bleu } from "./bleu.ts";
import { chrf } from "./chrf.ts";
import { chrfPlusPlus } from "./chrf-plus-plus.ts";
import { entityF1 } from "./entity-f1.ts";
import { entityPrecision } from "./entity-precision.ts";
import { entityRecall } from "./entity-recall.ts";
import { exactMatch } from "./exact-match.ts";
import { f1 } from "./f1.ts";
import { matthewsCorrelation } from "./matthews-correlation.ts";
import { meanReciprocalRank } from "./mean-reciprocal-rank.ts";
import { microF1 } from "./micro-f1.ts";
import { microPrecision } from "./micro-precision.ts";
import { microRecall } from "./micro-recall.ts";
import { pearson } from "./pearson.ts";
import { precision } from "./precision.ts";
import { recall } from "./recall.ts";
import { recallAt1 } from "./recall-at-1.ts";
import { recallAt5 } from "./recall-at-5.ts";
import { recallAt10 } from "./recall-at-10.ts";
import { rouge1 } from "./rouge-1.ts";
import { rouge2 } from "./rouge-2.ts";
import { rougeL } from "./rouge-l.ts";
import { rougeLsum } from "./rouge-lsum.ts";
import { spearman } from "./spearman.ts";
import { tagAccuracy } from "./tag-accuracy.ts";
import type { ScoreKind, Scores, TaskMetric } from "./task-metric.ts";

export const taskMetrics = [
  ...[accuracy, precision, recall, f1, microPrecision, microRecall, microF1],
  ...[binaryPrecision, binaryRecall, binaryF1, matthewsCorrelation],
  ...[pearson, spearman],
  ...[entityPrecision, entityRecall, entityF1, tagAccuracy],
  ...[exactMatch, answerF1],
  ...[rouge1, rouge2, rougeL, rougeLsum, bleu, chrf, chrfPlusPlus],
  ...[recallAt1, recallAt5, recallAt10, meanReciprocalRank],
] as const;

/** Those that say something of these scores; of written texts those that were asked for. */
export function metricsFor(scores: Scores): readonly TaskMetric<ScoreKind>[] {
  return (taskMetrics as readonly TaskMetric<ScoreKind>[]).filter(
    ({ name, kinds, appliesTo }) =>
      kinds.includes(scores.kind) && (scores.kind !== "texts" || scores.metrics.includes(name)) && (appliesTo?.(scores) ?? true),
  );
}

/** Names of those that compare written texts with references. */
export const textMetrics = (taskMetrics as readonly TaskMetric<ScoreKind>[])
  .filter(({ kinds }) => kinds.includes("texts"))
  .map(({ name }) => name);

/** Every metric under its column of metrics.jsonl. */
export const computeTaskMetrics = (scores: Scores): Record<string, number> =>
  Object.fromEntries(metricsFor(scores).map((metric) => [metric.logName, metric.compute(scores)]));
