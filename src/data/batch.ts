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
  /** What tasks over whole documents say of this one: the class, or one number for each label. */
  readonly target?: readonly number[];
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
  /** [N], or one for each document where the head pools several rows: the token to predict (already shifted, never across documents) or the class. */
  readonly targetLabels: Int32Array;
  /** As long as the labels; 1 where absent. */
  readonly targetWeights?: Float32Array;
  /** Further inputs of the head, by name. */
  readonly targets?: Readonly<Record<string, TargetTensor>>;
  /** Tokens that are not padding. */
  readonly tokenCount: number;
}
