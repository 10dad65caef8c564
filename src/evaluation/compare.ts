/** Base against tuned model on the same held-out documents: the loss, and every metric of the task, each with its interval. */
import type { HeldOutResult } from "./held-out.ts";
import { bootstrapMetrics, type PairedDifference, pairedBootstrap } from "./paired-bootstrap.ts";

export interface Comparison {
  /** Of the mean loss over targets. */
  readonly loss: PairedDifference;
  /** By the metric's column in metrics files; empty for language models. */
  readonly metrics: Readonly<Record<string, PairedDifference>>;
}

export function compareHeldOut({ base, tuned, seed = 0 }: { base: HeldOutResult; tuned: HeldOutResult; seed?: number }): Comparison {
  return {
    loss: pairedBootstrap({ first: base.documents, second: tuned.documents, seed }),
    metrics: base.scores && tuned.scores ? bootstrapMetrics({ first: base.scores, second: tuned.scores, seed }) : {},
  };
}
