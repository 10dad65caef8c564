/** What a model said of held-out documents, one item for each, and what metrics over such items have in common. */

/** How an item looks to a reader. */
interface Shown {
  readonly text?: string;
  readonly expected?: string;
  readonly said?: string;
  /** Probability that the model gives to what it said, 0 to 1. */
  readonly confidence?: number;
}

export interface ClassItem extends Shown {
  /** Ids of labels. */
  readonly predicted: number;
  readonly actual: number;
}

/** Any number of labels: one flag for each. */
export interface LabelSetItem extends Shown {
  readonly predicted: readonly boolean[];
  readonly actual: readonly boolean[];
}

export interface NumberItem extends Shown {
  readonly predicted: readonly number[];
  readonly actual: readonly number[];
}

/** Tags of the words of one sentence, such as B-PER, I-PER, O. */
export interface TagItem extends Shown {
  readonly predicted: readonly string[];
  readonly actual: readonly string[];
}

/** An answer in words and the ones that are right; "" where a question has none. */
export interface AnswerItem extends Shown {
  readonly predicted: string;
  readonly actual: readonly string[];
}

/** A text that the model wrote, and those that it might have written. */
export interface TextItem extends Shown {
  readonly predicted: string;
  /** At least one. */
  readonly actual: readonly string[];
}

export interface RankItem extends Shown {
  /** Place of what was looked for, from 1. */
  readonly rank: number;
}

/** Kinds of items, by what a task has to say of a document; of written texts also the metrics that were asked for. Plain data: results travel between threads. */
export type Scores =
  | { readonly kind: "classes"; readonly items: readonly ClassItem[]; readonly labels: readonly string[] }
  | { readonly kind: "label-sets"; readonly items: readonly LabelSetItem[]; readonly labels: readonly string[] }
  | { readonly kind: "choices"; readonly items: readonly ClassItem[] }
  | { readonly kind: "numbers"; readonly items: readonly NumberItem[] }
  | { readonly kind: "tags"; readonly items: readonly TagItem[] }
  | { readonly kind: "answers"; readonly items: readonly AnswerItem[] }
  | { readonly kind: "texts"; readonly items: readonly TextItem[]; readonly metrics: readonly string[]; readonly rougeStemmer?: boolean }
  | { readonly kind: "ranks"; readonly items: readonly RankItem[] };

export type ScoreKind = Scores["kind"];
export type ScoresOf<Kind extends ScoreKind> = Extract<Scores, { kind: Kind }>;

export interface TaskMetric<Kind extends ScoreKind = never> {
  /** As scikit-learn and Hugging Face's evaluate call it. */
  readonly name: string;
  readonly logName: `eval_${string}`;
  readonly better: "lower" | "higher";
  /** Kinds of items that it is for. */
  readonly kinds: readonly Kind[];
  /** False where it says nothing, such as one label's share where there are many. */
  appliesTo?(scores: ScoresOf<Kind>): boolean;
  /** NaN without items. */
  compute(scores: ScoresOf<Kind>): number;
}
