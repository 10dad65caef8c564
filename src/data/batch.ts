/** What training consumes: token ids with labels, and batches of them. Plain typed arrays; nothing here knows tensors. */

/** The label of a token that is not supervised, as in Hugging Face. */
export const ignoredLabel = -100;

/** One document. `labels[i]` is the token at i itself (unshifted), or `ignoredLabel`. */
export interface TokenizedExample {
  readonly inputIds: Int32Array;
  readonly labels: Int32Array;
  /** [tokens]: segments A and B, for models that tell them apart. */
  readonly tokenTypeIds?: Int32Array;
  /** What the encoder of an encoder-decoder reads; `inputIds` are then the decoder's. */
  readonly encoderInputIds?: Int32Array;
  /** What tasks over whole documents say of this one: the class, one number for each label, first and last token of an answer. */
  readonly target?: readonly number[];
  /** Further documents that belong to this one and always share its batch: the other choices of a question, what an anchor is compared with. */
  readonly companions?: readonly TokenizedExample[];
  /** What the task keeps of the row, so that it can score and show what the model says of it. */
  readonly notes?: unknown;
}

/** Values that an objective reads beside labels; integers reach it as int64. */
export interface TargetTensor {
  readonly dims: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** Rows of tokens that a stack of blocks reads. */
export interface TokenRows {
  /** T. */
  readonly tokens: number;
  /** [B * T]. */
  readonly inputIds: Int32Array;
  /** [B * T]; starts again at 0 in every document. */
  readonly positionIds: Int32Array;
  /** [B * T]; attention stays inside equal ids. Padding has -1. */
  readonly documentIds: Int32Array;
  /** [B * T]: segments A and B, for models that tell them apart; all zero where absent. */
  readonly tokenTypeIds?: Int32Array;
}

export interface Batch extends TokenRows {
  /** B. */
  readonly batchSize: number;
  /** What the encoder of an encoder-decoder reads; a document has the same id in both. */
  readonly encoder?: TokenRows;
  /** [N]: flat index into B * T of each row that the head reads. */
  readonly targetPositions: Int32Array;
  /** The token to predict (already shifted, never across documents) or the class: one for each row [N], for each document whose rows are pooled, or for each example of several documents. */
  readonly targetLabels: Int32Array;
  /** As long as the labels; 1 where absent. */
  readonly targetWeights?: Float32Array;
  /** Further inputs of the head, by name. */
  readonly targets?: Readonly<Record<string, TargetTensor>>;
  /** Tokens that are not padding. */
  readonly tokenCount: number;
}

/** A batch that still knows its documents. */
export interface CollatedBatch extends Batch {
  /** In the order of the rows. */
  readonly documents: readonly TokenizedExample[];
  /** [N]: the document of each row of the head. */
  readonly documentOfRow: Int32Array;
  /** As long as the labels. */
  readonly documentOfLabel: Int32Array;
}
