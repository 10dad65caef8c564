/** What metrics over labels have in common: numbers from what was predicted and what was true, one entry a document. */
export interface Labelled {
  /** Ids 0 to numLabels - 1. */
  readonly predicted: readonly number[];
  readonly actual: readonly number[];
  readonly numLabels: number;
}

export interface LabelMetric {
  /** As scikit-learn and Hugging Face's evaluate call it. */
  readonly name: string;
  readonly logName: `eval_${string}`;
  readonly better: "lower" | "higher";
  compute(labelled: Labelled): number;
}

/** counts[actual][predicted]. */
export function confusionMatrix({ predicted, actual, numLabels }: Labelled): number[][] {
  const counts = Array.from({ length: numLabels }, () => new Array<number>(numLabels).fill(0));
  actual.forEach((label, i) => {
    counts[label]![predicted[i]!]!++;
  });
  return counts;
}
