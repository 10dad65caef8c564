/** What LoRA adds to one weight. */

/** scale B A. */
export interface LoraUpdate {
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly scale: number;
  /** [rank, inFeatures]. */
  readonly a: Float32Array;
  /** [outFeatures, rank]. */
  readonly b: Float32Array;
}
