/** What training consumes: token ids with labels, and batches of them. Plain typed arrays; nothing here knows tensors. */

/** The label of a token that is not supervised, as in Hugging Face. */
export const ignoredLabel = -100;

/** One document. `labels[i]` is the token at i itself (unshifted), or `ignoredLabel`. */
export interface TokenizedExample {
  readonly inputIds: Int32Array;
  readonly labels: Int32Array;
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
  /** [N]: flat index into B * T of the row that predicts a supervised token. */
  readonly targetPositions: Int32Array;
  /** [N]: the token to predict, already shifted, never across documents. */
  readonly targetLabels: Int32Array;
  /** [N]; 1 where absent. */
  readonly targetWeights?: Float32Array;
  /** Tokens that are not padding. */
  readonly tokenCount: number;
}
