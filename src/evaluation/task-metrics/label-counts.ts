/** Counts of predicted and actual labels, from which precision, recall and F1 follow. */
import type { ScoresOf } from "./task-metric.ts";

export type Labelled = ScoresOf<"classes"> | ScoresOf<"label-sets">;

export interface LabelCounts {
  /** Documents that have the label and were given it. */
  readonly hits: number;
  readonly predicted: number;
  readonly actual: number;
}

/** One entry for each label. */
export function countLabels(scores: Labelled): LabelCounts[] {
  const counts = scores.labels.map(() => ({ hits: 0, predicted: 0, actual: 0 }));
  const add = (label: number, isPredicted: boolean, isActual: boolean): void => {
    const count = counts[label]!;
    count.predicted += Number(isPredicted);
    count.actual += Number(isActual);
    count.hits += Number(isPredicted && isActual);
  };
  if (scores.kind === "classes") {
    for (const { predicted, actual } of scores.items) {
      add(predicted, true, predicted === actual);
      if (predicted !== actual) add(actual, false, true);
    }
  } else {
    for (const { predicted, actual } of scores.items)
      for (let label = 0; label < counts.length; label++) add(label, predicted[label]!, actual[label]!);
  }
  return counts;
}

/** Of all labels together. */
export const sumOf = (counts: readonly LabelCounts[]): LabelCounts =>
  counts.reduce(
    (sum, { hits, predicted, actual }) => ({ hits: sum.hits + hits, predicted: sum.predicted + predicted, actual: sum.actual + actual }),
    {
      ...{ hits: 0, predicted: 0, actual: 0 },
    },
  );

/** The share of predicted labels that are right; 0 where none was predicted. scikit-learn's `zero_division=0`. */
export const precisionOf = ({ hits, predicted }: LabelCounts): number => (predicted === 0 ? 0 : hits / predicted);
/** The share of actual labels that were found; 0 where there are none. */
export const recallOf = ({ hits, actual }: LabelCounts): number => (actual === 0 ? 0 : hits / actual);
export const f1Of = ({ hits, predicted, actual }: LabelCounts): number =>
  predicted + actual === 0 ? 0 : (2 * hits) / (predicted + actual);

/** Mean over labels. Classes that neither occur nor are predicted do not count, as in scikit-learn, which does not know of them; labels of sets all count. */
export function macro(scores: Labelled, of: (counts: LabelCounts) => number): number {
  const counts = countLabels(scores).filter(({ predicted, actual }) => scores.kind === "label-sets" || predicted + actual > 0);
  return counts.reduce((sum, count) => sum + of(count), 0) / counts.length;
}

/** counts[actual][predicted]. */
export function confusionMatrix({ items, labels }: ScoresOf<"classes">): number[][] {
  const counts = labels.map(() => new Array<number>(labels.length).fill(0));
  for (const { predicted, actual } of items) counts[actual]![predicted]!++;
  return counts;
}
